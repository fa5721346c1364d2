package conveyor.standin;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.AbstractSynchronizedMongoCollection;
import de.bwaldvogel.mongo.backend.ArrayFilters;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.DocumentWithPosition;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.IndexKey;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.oplog.Oplog;

/**
 * Documents stay encoded; indexes and filters see only the fields that they ask for.
 *
 * <p>Keep what concerns indexes in step with {@link IndexedH2Collection}: the two bases share no class that may be
 * changed.
 */
final class IndexedMemoryCollection extends AbstractSynchronizedMongoCollection<Integer> {

    private static final String ID = "_id";
    private static final Fields ONLY_ID = Fields.of(List.of(ID));

    /** Null where a document was removed. */
    private final List<EncodedDocument> documents = new ArrayList<>();
    private final Deque<Integer> emptyPositions = new ArrayDeque<>();
    private Fields indexed = ONLY_ID;

    /** Bytes of the largest document that ever was here, as a bound of what a reply may take. */
    private volatile int largest;

    /** What is being added, where that is encoded already. */
    private EncodedDocument arriving;

    IndexedMemoryCollection(MongoDatabase database, String name, CollectionOptions options, CursorRegistry cursors) {
        super(database, name, options, cursors);
    }

    @Override
    public synchronized void addIndex(Index<Integer> index) {
        OrderedIndexes.add(index, getIndexes(), super::addIndex, super::dropIndex);
        noteIndexedFields();
    }

    @Override
    public synchronized void dropIndex(String name) {
        super.dropIndex(name);
        OrderedIndexes.companionNameOf(name, getIndexes()).ifPresent(super::dropIndex);
        noteIndexedFields();
    }

    private void noteIndexedFields() {
        Set<String> paths = new LinkedHashSet<>(List.of(ID));
        getIndexes().forEach(index -> index.getKeys().stream().map(IndexKey::getKey).forEach(paths::add));
        indexed = Fields.of(paths);
    }

    @Override
    public synchronized List<Document> insertDocuments(List<Document> added, boolean isOrdered) {
        try {
            return super.insertDocuments(added instanceof EncodedDocuments encoded ? encoded.seenAs(this::arrive) : added, isOrdered);
        } finally {
            arriving = null;
        }
    }

    /** What indexes need of a document; the rest waits for its position. */
    private Document arrive(EncodedDocument document) {
        Document seen = document.decoded(indexed);
        boolean isWhole = seen.containsKey(ID);
        arriving = isWhole ? document : null;
        return isWhole ? seen : document.decoded();
    }

    @Override
    protected Integer addDocumentInternal(Document document) {
        EncodedDocument encoded = arriving == null ? EncodedDocument.of(document) : arriving;
        Integer position = emptyPositions.poll();
        if (position == null) {
            position = documents.size();
            documents.add(null);
        }
        put(position, encoded);
        return position;
    }

    private void put(Integer position, EncodedDocument document) {
        documents.set(position, document);
        if (document.length() > largest) {
            largest = document.length();
        }
    }

    int largestDocument() {
        return largest;
    }

    @Override
    public synchronized Document updateDocuments(Document selector, Document update, ArrayFilters arrayFilters,
                                                 boolean isMulti, boolean isUpsert, Oplog oplog) {
        Optional<EncodedDocument> replacement = Replacement.in(update);
        if (replacement.isEmpty()) {
            return super.updateDocuments(selector, update, arrayFilters, isMulti, isUpsert, oplog);
        }
        Optional<Integer> position = isMulti ? Optional.empty() : firstMatching(selector);
        if (position.isEmpty() || !keepsId(position.get(), replacement.get())) {
            return super.updateDocuments(selector, replacement.get().decoded(), arrayFilters, isMulti, isUpsert, oplog);
        }
        boolean isModified = replace(position.get(), replacement.get());
        return new Document("n", 1).append("nModified", isModified ? 1 : 0);
    }

    private Optional<Integer> firstMatching(Document selector) {
        Stream<Integer> positions = OrderedIndexes.bestScan(getIndexes(), selector, null)
            .map(OrderedIndex.Scan::positions)
            .orElseGet(() -> unordered(selector, null));
        return matching(positions, selector).findFirst();
    }

    private boolean keepsId(Integer position, EncodedDocument replacement) {
        return replacement.firstName().equals(ID)
            && replacement.decoded(ONLY_ID).equals(documents.get(position).decoded(ONLY_ID));
    }

    private boolean replace(Integer position, EncodedDocument replacement) {
        EncodedDocument replaced = documents.get(position);
        if (replaced.equals(replacement)) {
            return false;
        }
        Document before = replaced.decoded(indexed);
        Document after = replacement.decoded(indexed);
        getIndexes().forEach(index -> index.checkUpdate(before, after, this));
        getIndexes().forEach(index -> index.updateInPlace(before, after, position, this));
        put(position, replacement);
        return true;
    }

    @Override
    protected void handleUpdate(Integer position, Document oldDocument, Document newDocument) {
        put(position, EncodedDocument.of(newDocument));
    }

    /** Wrapped, since the library takes a selector with a field `query` for the envelope of old clients. */
    @Override
    public synchronized int deleteDocuments(Document selector, int limit, Oplog oplog) {
        return super.deleteDocuments(new Document("$query", selector), limit, oplog);
    }

    @Override
    public synchronized void removeDocument(Document document) {
        OrderedIndexes.forget(getIndexes(), document);
        super.removeDocument(document);
    }

    @Override
    protected void removeDocument(Integer position) {
        documents.set(position, null);
        emptyPositions.add(position);
    }

    @Override
    protected synchronized QueryResult queryDocuments(Document query, Document orderBy, int skip, int limit, int batchSize,
                                                      Document projection) {
        Optional<OrderedIndex.Scan<Integer>> scan = OrderedIndexes.bestScan(getIndexes(), query, orderBy);
        Document stillToSort = scan.isPresent() && scan.get().sorted() ? null : orderBy;
        Stream<Integer> positions = scan.isPresent() ? scan.get().positions() : unordered(query, orderBy);
        Fields shown = Filter.shownBy(projection, stillToSort);
        return matchDocumentsFromStream(
            matching(positions, query).map(position -> documents.get(position).decoded(shown)),
            new Document(), stillToSort, skip, limit, batchSize, projection);
    }

    private Stream<Integer> matching(Stream<Integer> positions, Document query) {
        Fields seen = Filter.seenBy(query);
        return query.isEmpty()
            ? positions
            : positions.filter(position -> documentMatchesQuery(documents.get(position).decoded(seen), query));
    }

    /** Where no ordered index helps: by a unique one, else all in the order of their positions. */
    private Stream<Integer> unordered(Document query, Document orderBy) {
        for (Index<Integer> index : getIndexes()) {
            if (index.canHandle(query)) {
                return StreamSupport.stream(index.getPositions(query).spliterator(), false);
            }
        }
        int last = documents.size() - 1;
        return IntStream.rangeClosed(0, last)
            .map(isNaturalDescending(orderBy) ? place -> last - place : place -> place)
            .filter(position -> documents.get(position) != null)
            .boxed();
    }

    @Override
    protected QueryResult matchDocuments(Document query, Document orderBy, int skip, int limit, int batchSize,
                                         Document projection) {
        return queryDocuments(query, orderBy, skip, limit, batchSize, projection);
    }

    @Override
    protected Document getDocument(Integer position) {
        return documents.get(position).decoded();
    }

    @Override
    protected Stream<DocumentWithPosition<Integer>> streamAllDocumentsWithPosition() {
        return unordered(new Document(), null).map(position -> new DocumentWithPosition<>(getDocument(position), position));
    }

    /** For aggregations: each document is decoded when its turn comes, not all at once. */
    @Override
    public Stream<Document> queryAllAsStream() {
        return present().stream().map(EncodedDocument::decoded);
    }

    private synchronized List<EncodedDocument> present() {
        return documents.stream().filter(Objects::nonNull).toList();
    }

    @Override
    public synchronized int count() {
        return documents.size() - emptyPositions.size();
    }

    @Override
    public synchronized boolean isEmpty() {
        return count() == 0;
    }

    /** Encoding every document once more only to know the collection's size would cost a third of the throughput. */
    @Override
    protected boolean tracksDataSize() {
        return false;
    }

    @Override
    protected void updateDataSize(int sizeDelta) {
        throw new UnsupportedOperationException("not tracked");
    }

    @Override
    protected int getDataSize() {
        return 0;
    }
}
