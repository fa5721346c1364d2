package conveyor.standin;

import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Consumer;

import de.bwaldvogel.mongo.backend.AbstractUniqueIndex;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;

/** What the memory and the H2 collection share: the use of the ordered indexes among their indexes. */
final class OrderedIndexes {

    private static final String COMPANION_SUFFIX = " (ordered)";

    private OrderedIndexes() { }

    /** Add an index, and its companion where one is missing: both or none. */
    static <P> void add(Index<P> index, List<Index<P>> indexes, Consumer<Index<P>> adding, Consumer<String> dropping) {
        Optional<Index<P>> companion = missingCompanionOf(index, indexes);
        companion.ifPresent(adding);
        try {
            adding.accept(index);
        } catch (MongoServerError refused) {
            companion.map(Index::getName).ifPresent(dropping);
            throw refused;
        }
    }

    /**
     * A unique index is a hash that finds only whole keys; its companion answers everything else. Empty where there
     * is one already.
     */
    private static <P> Optional<Index<P>> missingCompanionOf(Index<P> index, List<Index<P>> indexes) {
        return index instanceof AbstractUniqueIndex && companionNameOf(index.getName(), indexes).isEmpty()
            ? Optional.of(OrderedIndex.withoutArrays(companionName(index.getName()), index.getKeys()))
            : Optional.empty();
    }

    static <P> Optional<String> companionNameOf(String indexName, List<Index<P>> indexes) {
        String name = companionName(indexName);
        return indexes.stream().map(Index::getName).filter(name::equals).findFirst();
    }

    private static String companionName(String indexName) {
        return indexName + COMPANION_SUFFIX;
    }

    static <P> Optional<OrderedIndex.Scan<P>> bestScan(List<Index<P>> indexes, Document query, Document orderBy) {
        Filter filter = new Filter(query);
        return indexes.stream()
            .filter(OrderedIndex.class::isInstance)
            .map(index -> ((OrderedIndex<P>) index).scan(filter, orderBy))
            .flatMap(Optional::stream)
            .max(Comparator.comparingInt(OrderedIndex.Scan::worth));
    }

    static <P> void forget(List<Index<P>> indexes, Document document) {
        indexes.stream()
            .map(index -> index.getPosition(document))
            .filter(Objects::nonNull)
            .findFirst()
            .ifPresent(position -> indexes.stream()
                .filter(OrderedIndex.class::isInstance)
                .forEach(index -> ((OrderedIndex<P>) index).forget(document, position)));
    }
}
