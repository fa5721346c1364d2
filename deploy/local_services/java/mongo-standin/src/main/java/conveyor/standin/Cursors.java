package conveyor.standin;

import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.WeakHashMap;

import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.bson.Document;

/** Replies in batches. The library would send all at once, or too much, and keeps a dead client's cursor for ever. */
final class Cursors {

    /** MongoDB's own time. */
    private static final Duration MAX_IDLE = Duration.ofMinutes(10);

    private final CursorRegistry registry;

    /** Those that may be idle; the registry alone keeps them alive. */
    private final Set<BatchCursor> open = Collections.synchronizedSet(Collections.newSetFromMap(new WeakHashMap<>()));

    Cursors(CursorRegistry registry) {
        this.registry = registry;
    }

    /** The reply with its first batch only; the others wait for `getMore`. */
    Document inBatches(Document reply, Object batchSize, boolean hasSingleBatch, long largest) {
        Document cursor = (Document) reply.get("cursor");
        @SuppressWarnings("unchecked")
        List<Document> found = (List<Document>) cursor.get("firstBatch");
        BatchCursor batches = new BatchCursor(registry.generateCursorId(), found, largest);
        cursor.put("firstBatch", batches.takeDocuments(batchSize instanceof Number size ? size.intValue() : 0));
        if (!batches.isEmpty() && !hasSingleBatch) {
            endIdle();
            registry.add(batches);
            open.add(batches);
            cursor.put("id", batches.getId());
        }
        return reply;
    }

    private void endIdle() {
        open.removeIf(cursor -> cursor.isIdleFor(MAX_IDLE) && registry.remove(cursor));
    }
}
