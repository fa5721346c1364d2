package conveyor.standin;

import java.util.function.UnaryOperator;

import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.Utils;
import de.bwaldvogel.mongo.bson.Document;

/** What both databases add to the commands of the library. */
final class Commands {

    private static final long UNKNOWN = Integer.MAX_VALUE;

    private Commands() { }

    static Document handle(MongoDatabase database, Cursors cursors, String command, Document query,
                           UnaryOperator<Document> library) {
        Refusals.check(database, command, query);
        return switch (command) {
            case "find" -> {
                // All of it: where a batch ends is decided here.
                Object batchSize = query.remove("batchSize");
                Document reply = library.apply(query);
                yield cursors.inBatches(reply, batchSize, Utils.isTrue(query.get("singleBatch")), largest(database, query));
            }
            case "aggregate" -> {
                Object batchSize = query.get("cursor") instanceof Document cursor ? cursor.get("batchSize") : null;
                yield cursors.inBatches(library.apply(query), batchSize, false, UNKNOWN);
            }
            case "insert" -> InsertReply.corrected(query, library.apply(query));
            case "update" -> OrderedUpdates.isIn(query) ? OrderedUpdates.applied(query, library) : library.apply(query);
            default -> library.apply(query);
        };
    }

    /** What no document found is larger than: a find leaves fields out, but makes none up. */
    private static long largest(MongoDatabase database, Document query) {
        return database.resolveCollection(query.get("find").toString(), false) instanceof IndexedMemoryCollection collection
            ? collection.largestDocument()
            : UNKNOWN;
    }
}
