package conveyor.standin;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;

import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.Utils;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;

/** Refuses indexes that would not be built as they are described, and those that another one stands in the way of. */
final class IndexRefusals {

    private static final Set<String> OPTIONS = Set.of("partialFilterExpression", "expireAfterSeconds", "wildcardProjection");

    /** What makes two indexes different ones, names aside. Fields in their order, each with its direction. */
    private record Kind(List<String> fields, boolean isUnique, boolean isSparse) {

        static Kind of(Document description) {
            List<String> fields = ((Document) description.get("key")).entrySet().stream()
                .map(field -> field.getKey() + " " + (field.getValue() instanceof Number way && way.doubleValue() > 0))
                .toList();
            return new Kind(fields, Utils.isTrue(description.get("unique")), Utils.isTrue(description.get("sparse")));
        }
    }

    private IndexRefusals() { }

    static void check(MongoDatabase database, String collection, List<Document> wanted) {
        List<Document> known = new ArrayList<>(descriptions(database, collection));
        for (Document description : wanted) {
            checkOptions(description);
            if (!((Document) description.get("key")).keySet().equals(Set.of("_id"))) {
                known.forEach(other -> checkConflict(description, other));
            }
            known.add(description);
        }
    }

    /** Whether a hint, which is a name or the keys, is that of an index. A collection that is not there has none to miss. */
    static boolean exists(MongoDatabase database, String collection, Object hint) {
        List<Document> known = descriptions(database, collection);
        return known.isEmpty()
            || hint instanceof Document keys && keys.containsKey("$natural")
            || known.stream().anyMatch(index -> hint.equals(index.get(hint instanceof String ? "name" : "key")));
    }

    private static void checkOptions(Document description) {
        Refusals.checkCollation(description);
        OPTIONS.stream().filter(description::containsKey).findAny().ifPresent(option -> {
            throw new NotKnownError("indexes with " + option);
        });
        ((Document) description.get("key")).values().forEach(kind -> {
            if (!(kind instanceof Number)) {
                throw new NotKnownError("indexes of the kind " + kind);
            }
        });
    }

    private static void checkConflict(Document wanted, Document known) {
        boolean isSameName = known.get("name").equals(wanted.get("name"));
        boolean isSameKind = Kind.of(known).equals(Kind.of(wanted));
        if (isSameName && !isSameKind) {
            throw new MongoServerError(86, "IndexKeySpecsConflict", "another index has the name " + wanted.get("name"));
        }
        if (isSameKind && !isSameName) {
            throw new MongoServerError(85, "IndexOptionsConflict", "the same index has the name " + known.get("name"));
        }
    }

    private static List<Document> descriptions(MongoDatabase database, String collection) {
        MongoCollection<?> indexes = database.resolveCollection("system.indexes", false);
        return indexes == null
            ? List.of()
            : indexes.handleQueryAsStream(new Document("ns", database.getDatabaseName() + "." + collection)).toList();
    }
}
