package conveyor.standin;

import java.util.Arrays;
import java.util.Collection;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

import de.bwaldvogel.mongo.backend.QueryOperator;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.BadValueException;
import de.bwaldvogel.mongo.exception.FailedToParseException;

/** Refuses operators that nobody knows: the library sees one only when it meets a document. */
final class Operators {

    private static final Set<String> LOGICAL = Set.of("$and", "$or", "$nor");
    private static final Set<String> TOP = Set.of("$expr", "$comment");
    private static final Set<String> OF_FIELDS = Stream.concat(
            Arrays.stream(QueryOperator.values()).map(QueryOperator::getValue),
            Stream.of("$regex", "$options", "$ref", "$id", "$db"))
        .collect(Collectors.toUnmodifiableSet());
    private static final Set<String> OF_UPDATES = Set.of("$inc", "$mul", "$rename", "$setOnInsert", "$set", "$unset",
        "$min", "$max", "$currentDate", "$addToSet", "$pop", "$pullAll", "$pull", "$push", "$bit");

    private Operators() { }

    static void checkQuery(Object query) {
        if (!(query instanceof Document clauses)) {
            return;
        }
        for (Map.Entry<String, Object> clause : clauses.entrySet()) {
            String name = clause.getKey();
            if (!name.startsWith("$")) {
                checkField(clause.getValue());
            } else if (LOGICAL.contains(name)) {
                if (clause.getValue() instanceof Collection<?> parts) {
                    parts.forEach(Operators::checkQuery);
                }
            } else if (!TOP.contains(name)) {
                throw new BadValueException("unknown top level operator: " + name);
            }
        }
    }

    private static void checkField(Object wanted) {
        if (!(wanted instanceof Document operators)) {
            return;
        }
        for (Map.Entry<String, Object> operator : operators.entrySet()) {
            String name = operator.getKey();
            if (name.startsWith("$") && !OF_FIELDS.contains(name)) {
                throw new BadValueException("unknown operator: " + name);
            }
            if (name.equals("$not")) {
                checkField(operator.getValue());
            }
        }
    }

    static void checkUpdate(Document update) {
        for (String name : update.keySet()) {
            if (name.startsWith("$") && !OF_UPDATES.contains(name)) {
                throw new FailedToParseException("Unknown modifier: " + name);
            }
        }
    }
}
