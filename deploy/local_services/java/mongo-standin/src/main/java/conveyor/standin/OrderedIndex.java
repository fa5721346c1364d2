package conveyor.standin;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;

import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.IndexKey;
import de.bwaldvogel.mongo.backend.ValueComparator;
import de.bwaldvogel.mongo.bson.Document;

/**
 * A sorted index that answers with a superset of the matching positions; the collection filters what it gets.
 *
 * <p>The library ignores secondary indexes and uses unique ones only for a filter of exactly their keys. This index
 * serves what a B-tree serves: equality or {@code $in} on its leading keys, then one range, in index order.
 */
final class OrderedIndex<P> extends Index<P> {

    /** Sort before and after every value, whatever the direction of the key. */
    private enum Bound { LOWEST, HIGHEST }

    /** More points than this cost more than they save. */
    private static final int MAX_POINTS = 20_000;

    private final TreeMap<List<Object>, Set<P>> entries = new TreeMap<>(this::compareKeys);
    private final List<Comparator<Object>> comparators;
    private final List<FieldPath> paths;
    private final boolean[] ascending;
    private final boolean refusesArrays;

    /** Whether any document has several keys, because of an array. Then two bounds may be met by two elements. */
    private boolean multikey;

    OrderedIndex(String name, List<IndexKey> keys) {
        this(name, keys, false);
    }

    /** The companion of a unique index: that one loses count of documents with several keys. */
    static <P> OrderedIndex<P> withoutArrays(String name, List<IndexKey> keys) {
        return new OrderedIndex<>(name, keys, true);
    }

    private OrderedIndex(String name, List<IndexKey> keys, boolean refusesArrays) {
        super(name, keys, true);
        this.refusesArrays = refusesArrays;
        this.comparators = keys.stream()
            .<Comparator<Object>>map(key -> key.isAscending() ? ValueComparator.asc() : ValueComparator.desc())
            .toList();
        this.paths = keys().stream().map(FieldPath::new).toList();
        this.ascending = new boolean[keys.size()];
        for (int column = 0; column < ascending.length; column++) {
            ascending[column] = keys.get(column).isAscending();
        }
    }

    /** Positions in question for one query, and how good this way to find them is. */
    record Scan<P>(Stream<P> positions, int equalities, boolean ranged, boolean sorted) {

        int worth() {
            return 4 * equalities + (ranged ? 2 : 0) + (sorted ? 1 : 0);
        }
    }

    Optional<Scan<P>> scan(Filter filter, Document orderBy) {
        List<List<Object>> points = List.of(List.of());
        int equalities = 0;
        while (equalities < comparators.size()) {
            Optional<List<Object>> values = filter.equalTo(keys().get(equalities));
            if (values.isEmpty() || points.size() * values.get().size() > MAX_POINTS) {
                break;
            }
            points = product(points, values.get());
            equalities++;
        }
        Optional<Filter.Range> range = equalities < comparators.size()
            ? filter.range(keys().get(equalities))
            : Optional.empty();
        boolean sorted = points.size() == 1 && !multikey && isSorted(equalities, orderBy);
        if (equalities == 0 && range.isEmpty() && !sorted) {
            return Optional.empty();
        }
        boolean reversed = sorted && isReversed(equalities, orderBy);
        int column = equalities;
        Stream<P> positions = points.stream().flatMap(point -> positions(point, column, range, reversed));
        return Optional.of(new Scan<>(multikey ? positions.distinct() : positions, equalities, range.isPresent(), sorted));
    }

    private Stream<P> positions(List<Object> point, int column, Optional<Filter.Range> range, boolean reversed) {
        List<Object> from = bound(point, Bound.LOWEST);
        List<Object> to = bound(point, Bound.HIGHEST);
        if (range.isPresent()) {
            boolean ascending = getKeys().get(column).isAscending();
            Optional<Filter.End> first = ascending ? range.get().lower() : range.get().upper();
            Optional<Filter.End> last = ascending ? range.get().upper() : range.get().lower();
            boolean oneEndOnly = multikey && first.isPresent() && last.isPresent();
            from = first.map(end -> bound(point, end.value(), end.inclusive() ? Bound.LOWEST : Bound.HIGHEST)).orElse(from);
            if (!oneEndOnly) {
                to = last.map(end -> bound(point, end.value(), end.inclusive() ? Bound.HIGHEST : Bound.LOWEST)).orElse(to);
            }
        }
        if (compareKeys(from, to) >= 0) {
            return Stream.empty();
        }
        var part = entries.subMap(from, true, to, false);
        return (reversed ? part.descendingMap() : part).values().stream().flatMap(Set::stream);
    }

    private boolean isSorted(int column, Document orderBy) {
        if (orderBy == null || orderBy.isEmpty() || column + orderBy.size() > comparators.size()) {
            return false;
        }
        boolean reversed = isReversed(column, orderBy);
        for (String field : orderBy.keySet()) {
            IndexKey key = getKeys().get(column++);
            if (!key.getKey().equals(field) || (key.isAscending() == isAscending(orderBy, field)) == reversed) {
                return false;
            }
        }
        return true;
    }

    private boolean isReversed(int column, Document orderBy) {
        String field = orderBy.keySet().iterator().next();
        return getKeys().get(column).isAscending() != isAscending(orderBy, field);
    }

    private static boolean isAscending(Document orderBy, String field) {
        return orderBy.get(field) instanceof Number direction && direction.intValue() > 0;
    }

    @Override
    public void add(Document document, P position, MongoCollection<P> collection) {
        add(keysOf(document), position);
    }

    private void add(List<List<Object>> keys, P position) {
        multikey |= keys.size() > 1;
        for (List<Object> key : keys) {
            entries.merge(key, Set.of(position), OrderedIndex::union);
        }
    }

    /** Most keys have one position: a set that can grow is made for the second. */
    private static <P> Set<P> union(Set<P> positions, Set<P> added) {
        Set<P> all = positions instanceof LinkedHashSet ? positions : new LinkedHashSet<>(positions);
        all.addAll(added);
        return all;
    }

    void forget(Document document, P position) {
        forget(keysOf(document), position);
    }

    private void forget(List<List<Object>> keys, P position) {
        for (List<Object> key : keys) {
            entries.computeIfPresent(key, (ignored, positions) -> without(positions, position));
        }
    }

    private static <P> Set<P> without(Set<P> positions, P position) {
        if (positions instanceof LinkedHashSet) {
            positions.remove(position);
            return positions.isEmpty() ? null : positions;
        }
        return positions.contains(position) ? null : positions;
    }

    @Override
    public void updateInPlace(Document oldDocument, Document newDocument, P position, MongoCollection<P> collection) {
        List<List<Object>> oldKeys = keysOf(oldDocument);
        List<List<Object>> newKeys = keysOf(newDocument);
        if (!oldKeys.equals(newKeys)) {
            forget(oldKeys, position);
            add(newKeys, position);
        }
    }

    private List<List<Object>> keysOf(Document document) {
        Object[] single = new Object[paths.size()];
        for (int column = 0; column < single.length; column++) {
            Object value = paths.get(column).in(document);
            if (value instanceof Collection<?>) {
                return keysOfArrays(document);
            }
            single[column] = value;
        }
        return List.of(Arrays.asList(single));
    }

    private List<List<Object>> keysOfArrays(Document document) {
        List<List<Object>> keys = List.of(List.of());
        for (FieldPath path : paths) {
            Set<Object> values = new LinkedHashSet<>();
            flatten(path.in(document), values);
            keys = product(keys, values.isEmpty() ? Filter.ONLY_NULL : values);
        }
        return keys;
    }

    private static void flatten(Object value, Set<Object> into) {
        if (value instanceof Collection<?> elements) {
            elements.forEach(element -> flatten(element, into));
        } else {
            into.add(value);
        }
    }

    private static List<List<Object>> product(List<List<Object>> heads, Collection<Object> values) {
        List<List<Object>> result = new ArrayList<>(heads.size() * values.size());
        for (List<Object> head : heads) {
            for (Object value : values) {
                result.add(bound(head, value));
            }
        }
        return result;
    }

    private static List<Object> bound(List<Object> head, Object... tail) {
        Object[] key = head.toArray(new Object[head.size() + tail.length]);
        System.arraycopy(tail, 0, key, head.size(), tail.length);
        return Arrays.asList(key);
    }

    private int compareKeys(List<Object> left, List<Object> right) {
        int common = Math.min(left.size(), right.size());
        for (int i = 0; i < common; i++) {
            int order = compareValues(i, left.get(i), right.get(i));
            if (order != 0) {
                return order;
            }
        }
        return Integer.compare(
            left.size() > common ? rank(left.get(common)) : 0,
            right.size() > common ? rank(right.get(common)) : 0);
    }

    private int compareValues(int column, Object left, Object right) {
        if (left instanceof Bound || right instanceof Bound) {
            return Integer.compare(rank(left), rank(right));
        }
        // What nearly all keys are; the library would look for their types in a list.
        if (left instanceof String one && right instanceof String other) {
            return ascending[column] ? one.compareTo(other) : other.compareTo(one);
        }
        if (left instanceof Integer one && right instanceof Integer other) {
            return ascending[column] ? one.compareTo(other) : other.compareTo(one);
        }
        return comparators.get(column).compare(left, right);
    }

    private static int rank(Object value) {
        return value == Bound.LOWEST ? -1 : value == Bound.HIGHEST ? 1 : 0;
    }

    @Override
    public P getPosition(Document document) {
        return null;
    }

    /** Of uniqueness it knows nothing: that is the library's own index. */
    @Override
    public void checkAdd(Document document, MongoCollection<P> collection) {
        if (refusesArrays && paths.stream().anyMatch(path -> path.in(document) instanceof Collection<?>)) {
            throw new NotKnownError("an array in a field of a unique index");
        }
    }

    @Override
    public void checkUpdate(Document oldDocument, Document newDocument, MongoCollection<P> collection) {
        checkAdd(newDocument, collection);
    }

    @Override
    public P remove(Document document) {
        // The library does not tell the position here; the collection calls forget() first.
        return null;
    }

    @Override
    public boolean canHandle(Document query) {
        return false;
    }

    @Override
    public Iterable<P> getPositions(Document query) {
        throw new UnsupportedOperationException("served by scan()");
    }

    @Override
    public long getCount() {
        return entries.size();
    }

    @Override
    public long getDataSize() {
        return entries.size();
    }

    @Override
    public void drop() {
        entries.clear();
    }
}
