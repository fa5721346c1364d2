package conveyor.standin;

import java.util.List;
import java.util.Optional;

import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.ArrayFilters;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Collection;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.oplog.Oplog;
import org.h2.mvstore.MVMap;

/** Keep in step with {@link IndexedMemoryCollection}: the two bases share no class that may be changed. */
final class IndexedH2Collection extends H2Collection {

    IndexedH2Collection(MongoDatabase database, String name, CollectionOptions options, MVMap<Object, Document> data,
                        MVMap<String, Object> meta, CursorRegistry cursors) {
        super(database, name, options, data, meta, cursors);
    }

    @Override
    public synchronized void addIndex(Index<Object> index) {
        OrderedIndexes.add(index, getIndexes(), super::addIndex, super::dropIndex);
    }

    @Override
    public synchronized void dropIndex(String name) {
        super.dropIndex(name);
        OrderedIndexes.companionNameOf(name, getIndexes()).ifPresent(super::dropIndex);
    }

    @Override
    public synchronized Document updateDocuments(Document selector, Document update, ArrayFilters arrayFilters,
                                                 boolean isMulti, boolean isUpsert, Oplog oplog) {
        Document decoded = Replacement.in(update).map(EncodedDocument::decoded).orElse(update);
        return super.updateDocuments(selector, decoded, arrayFilters, isMulti, isUpsert, oplog);
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
    protected synchronized QueryResult queryDocuments(Document query, Document orderBy, int skip, int limit, int batchSize,
                                                      Document fields) {
        Optional<OrderedIndex.Scan<Object>> scan = OrderedIndexes.bestScan(getIndexes(), query, orderBy);
        if (scan.isEmpty()) {
            return super.queryDocuments(query, orderBy, skip, limit, batchSize, fields);
        }
        Document stillToSort = scan.get().sorted() ? null : orderBy;
        return matchDocumentsFromStream(
            scan.get().positions().map(this::getDocument), query, stillToSort, skip, limit, batchSize, fields);
    }

    /**
     * Copies of what was found: the library changes what it found in place, and so would change what is stored, while
     * another thread writes that to a file or to a client.
     */
    @Override
    protected QueryResult createQueryResult(List<Document> found, int batchSize) {
        return super.createQueryResult(found.stream().map(Document::cloneDeeply).toList(), batchSize);
    }

    /** Encoding every document once more only to know the collection's size would cost a third of the throughput. */
    @Override
    protected boolean tracksDataSize() {
        return false;
    }
}
