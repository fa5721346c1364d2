package conveyor.standin;

import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;

import de.bwaldvogel.mongo.backend.Utils;
import de.bwaldvogel.mongo.backend.ValueComparator;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.bson.ObjectId;

/** What a query demands of single fields, as far as an index can use it: the rest is left to the full match. */
final class Filter {

    /** What an absent field and an empty array are filed under. */
    static final List<Object> ONLY_NULL = Collections.singletonList(null);

    record End(Object value, boolean inclusive) { }

    private record Clause(String field, Object wanted) { }

    record Range(Optional<End> lower, Optional<End> upper) { }

    private static final Set<String> LOGICAL = Set.of("$and", "$or", "$nor");
    private static final End ABOVE_NULL = new End(null, false);

    private final List<Clause> clauses = new ArrayList<>();

    Filter(Document query) {
        collect(query);
    }

    private void collect(Document query) {
        for (Map.Entry<String, Object> clause : query.entrySet()) {
            if (clause.getKey().equals("$and") && clause.getValue() instanceof Collection<?> parts) {
                parts.forEach(part -> collect((Document) part));
            } else {
                add(clause.getKey(), clause.getValue());
            }
        }
    }

    private void add(String field, Object wanted) {
        if (field.startsWith("$")) {
            return;
        }
        clauses.add(new Clause(field, wanted));
        // What one element has together, the elements have apart.
        if (wanted instanceof Document operators && operators.get("$elemMatch") instanceof Document element) {
            element.forEach((name, value) -> add(field + "." + name, value));
        }
    }

    Optional<List<Object>> equalTo(String field) {
        for (Clause clause : clauses) {
            if (!clause.field().equals(field)) {
                continue;
            }
            Object value = clause.wanted();
            if (isScalar(value)) {
                return Optional.of(List.of(value));
            }
            if (value instanceof Document operators) {
                if (isScalar(operators.get("$eq"))) {
                    return Optional.of(List.of(operators.get("$eq")));
                }
                if (operators.get("$in") instanceof Collection<?> values && values.stream().allMatch(Filter::isScalar)) {
                    TreeSet<Object> distinct = new TreeSet<>(ValueComparator.asc());
                    distinct.addAll(values);
                    return Optional.of(List.copyOf(distinct));
                }
            }
        }
        return Optional.empty();
    }

    Optional<Range> range(String field) {
        for (Clause clause : clauses) {
            if (clause.field().equals(field) && clause.wanted() instanceof Document operators) {
                Optional<End> lower = end(operators, "$gt", "$gte");
                Optional<End> upper = end(operators, "$lt", "$lte");
                if (lower.isPresent() || upper.isPresent()) {
                    // Null sorts lowest but is below no value: without this an upper end alone would read every null.
                    return Optional.of(new Range(lower.or(() -> Optional.of(ABOVE_NULL)), upper));
                }
            }
        }
        return Optional.empty();
    }

    private static Optional<End> end(Document operators, String exclusive, String inclusive) {
        if (isScalar(operators.get(exclusive))) {
            return Optional.of(new End(operators.get(exclusive), false));
        }
        if (isScalar(operators.get(inclusive))) {
            return Optional.of(new End(operators.get(inclusive), true));
        }
        return Optional.empty();
    }

    /** What must be decoded of a document to match it. */
    static Fields seenBy(Document query) {
        Set<String> fields = new LinkedHashSet<>();
        return addFields(query, fields) ? Fields.of(fields) : Fields.ALL;
    }

    /** Adds the fields on the first level; false if an operator may look at any. */
    private static boolean addFields(Document query, Set<String> fields) {
        for (Map.Entry<String, Object> clause : query.entrySet()) {
            if (LOGICAL.contains(clause.getKey()) && clause.getValue() instanceof Collection<?> parts) {
                if (!parts.stream().allMatch(part -> addFields((Document) part, fields))) {
                    return false;
                }
            } else if (clause.getKey().startsWith("$")) {
                return false;
            } else {
                fields.add(Utils.firstFragment(clause.getKey()));
            }
        }
        return true;
    }

    /** What must be decoded of a document to order it and to answer with it. */
    static Fields shownBy(Document projection, Document orderBy) {
        if (projection == null || projection.isEmpty() || !projection.values().stream().allMatch(Filter::includes)) {
            return Fields.ALL;
        }
        Set<String> fields = new LinkedHashSet<>(Set.of("_id"));
        projection.keySet().forEach(path -> fields.add(Utils.firstFragment(path)));
        if (orderBy != null) {
            orderBy.keySet().forEach(path -> fields.add(Utils.firstFragment(path)));
        }
        return Fields.of(fields);
    }

    private static boolean includes(Object value) {
        return (value instanceof Number || value instanceof Boolean) && Utils.isTrue(value);
    }

    private static boolean isScalar(Object value) {
        return value instanceof String || value instanceof Number || value instanceof Boolean
            || value instanceof Instant || value instanceof ObjectId || value instanceof UUID;
    }
}
