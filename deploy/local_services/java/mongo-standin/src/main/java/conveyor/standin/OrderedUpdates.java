package conveyor.standin;

import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;

import de.bwaldvogel.mongo.backend.Utils;
import de.bwaldvogel.mongo.bson.Document;

/** The library goes on after an update that it refused; an ordered bulk has to end there. */
final class OrderedUpdates {

    private OrderedUpdates() { }

    static boolean isIn(Document query) {
        return Utils.isTrue(query.getOrDefault("ordered", true)) && ((List<?>) query.get("updates")).size() > 1;
    }

    static Document applied(Document query, UnaryOperator<Document> library) {
        List<?> updates = (List<?>) query.get("updates");
        int matched = 0;
        int modified = 0;
        List<Document> upserted = new ArrayList<>();
        List<Document> errors = new ArrayList<>();
        for (int place = 0; place < updates.size() && errors.isEmpty(); place++) {
            Document single = new Document(query).append("updates", List.of(updates.get(place)));
            Document reply = library.apply(single);
            matched += (Integer) reply.get("n");
            modified += (Integer) reply.get("nModified");
            move(reply.get("upserted"), place, upserted);
            move(reply.get("writeErrors"), place, errors);
        }
        Document reply = new Document("n", matched).append("nModified", modified);
        reply.putIfNotNull("upserted", upserted.isEmpty() ? null : upserted);
        reply.putIfNotNull("writeErrors", errors.isEmpty() ? null : errors);
        Utils.markOkay(reply);
        return reply;
    }

    /** What was said of the only update, as said of the one at this place. */
    private static void move(Object said, int place, List<Document> into) {
        if (said instanceof Iterable<?> parts) {
            parts.forEach(part -> into.add(((Document) part).append("index", place)));
        }
    }
}
