package conveyor.standin;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.BadValueException;

/** Refuses what the library would ignore or do wrongly, and MongoDB would do or refuse. */
final class Refusals {

    private static final Set<String> COLLECTION_OPTIONS =
        Set.of("validator", "viewOn", "timeseries", "clusteredIndex", "expireAfterSeconds");

    private Refusals() { }

    static void check(MongoDatabase database, String command, Document query) {
        switch (command) {
            case "insert" -> checkNames((List<?>) query.get("documents"));
            case "update" -> documents(query.get("updates")).forEach(update -> {
                checkReading(database, command, query, update, "q");
                checkChange(update.get("u"));
            });
            case "delete" -> documents(query.get("deletes")).forEach(part -> checkReading(database, command, query, part, "q"));
            case "find" -> checkReading(database, command, query, query, "filter");
            case "count", "distinct" -> checkReading(database, command, query, query, "query");
            case "findAndModify" -> {
                checkReading(database, command, query, query, "query");
                checkChange(query.get("update"));
            }
            case "aggregate" -> {
                checkReading(database, command, query, query, "none");
                documents(query.get("pipeline")).forEach(stage -> Operators.checkQuery(stage.get("$match")));
            }
            case "create" -> {
                checkCollation(query);
                COLLECTION_OPTIONS.stream().filter(query::containsKey).findAny().ifPresent(option -> {
                    throw new NotKnownError(option);
                });
            }
            case "createIndexes" -> IndexRefusals.check(database, (String) query.get(command), documents(query.get("indexes")));
            default -> { }
        }
    }

    private static void checkReading(MongoDatabase database, String command, Document query, Document part, String filter) {
        checkCollation(part);
        Operators.checkQuery(part.get(filter));
        if (part.get("hint") != null && !IndexRefusals.exists(database, query.get(command).toString(), part.get("hint"))) {
            throw new BadValueException("hint provided does not correspond to an existing index");
        }
    }

    static void checkCollation(Document options) {
        if (options.get("collation") instanceof Document collation && !"simple".equals(collation.get("locale"))) {
            throw new NotKnownError("collation");
        }
    }

    private static void checkChange(Object change) {
        if (change instanceof List<?>) {
            throw new NotKnownError("updates by a pipeline");
        }
        if (!(change instanceof Document update)) {
            return;
        }
        Optional<EncodedDocument> replacement = Replacement.in(update);
        if (replacement.isEmpty()) {
            Operators.checkUpdate(update);
        }
        if (replacement.map(EncodedDocument::hasDottedName).orElseGet(() -> hasDottedName(update))) {
            throw dottedName();
        }
    }

    private static void checkNames(List<?> inserted) {
        boolean isRefused = inserted instanceof EncodedDocuments encoded
            ? encoded.any(EncodedDocument::hasDottedName)
            : inserted.stream().anyMatch(document -> hasDottedName((Document) document));
        if (isRefused) {
            throw dottedName();
        }
    }

    private static boolean hasDottedName(Map<String, ?> document) {
        return document.keySet().stream().anyMatch(name -> name.contains("."));
    }

    /** The library stores such a document, and can never again change it. */
    private static NotKnownError dottedName() {
        return new NotKnownError("a dot in the name of a field");
    }

    @SuppressWarnings("unchecked")
    private static List<Document> documents(Object value) {
        return value == null ? List.of() : (List<Document>) value;
    }
}
