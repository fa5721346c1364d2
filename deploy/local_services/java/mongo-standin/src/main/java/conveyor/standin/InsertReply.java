package conveyor.standin;

import java.util.Collection;
import java.util.List;

import de.bwaldvogel.mongo.backend.Utils;
import de.bwaldvogel.mongo.bson.Document;

/** The library counts refused documents as inserted; drivers report that number to their callers. */
final class InsertReply {

    private InsertReply() { }

    static Document corrected(Document query, Document reply) {
        if (reply.get("writeErrors") instanceof List<?> errors && !errors.isEmpty()) {
            int sent = ((Collection<?>) query.get("documents")).size();
            boolean ordered = Utils.isTrue(query.getOrDefault("ordered", true));
            int firstRefused = ((Number) ((Document) errors.get(0)).get("index")).intValue();
            reply.put("n", ordered ? firstRefused : sent - errors.size());
        }
        return reply;
    }
}
