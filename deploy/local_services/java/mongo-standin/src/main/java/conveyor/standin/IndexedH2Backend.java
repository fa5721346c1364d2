package conveyor.standin;

import java.util.List;

import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.DatabaseResolver;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.IndexKey;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.h2.H2Database;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.oplog.Oplog;
import io.netty.channel.Channel;

/** Documents and unique indexes live in the file; the ordered indexes are built from them when it is opened. */
final class IndexedH2Backend extends H2Backend {

    private final Cursors cursors = new Cursors(getCursorRegistry());

    IndexedH2Backend(String file) {
        super(file);
    }

    @Override
    protected MongoDatabase openOrCreateDatabase(String name) {
        return new IndexedDatabase(name);
    }

    /** An inner class, because its super constructor already opens collections, before any field of its own is set. */
    private final class IndexedDatabase extends H2Database {

        IndexedDatabase(String name) {
            super(name, getMvStore(), getCursorRegistry());
        }

        @Override
        protected MongoCollection<Object> openOrCreateCollection(String name, CollectionOptions options) {
            String fullName = getFullCollectionNamespace(name);
            return new IndexedH2Collection(this, name, options, getMvStore().openMap("databases." + fullName),
                getMvStore().openMap("meta." + fullName), cursorRegistry);
        }

        @Override
        protected Index<Object> openOrCreateSecondaryIndex(String collection, String name, List<IndexKey> keys, boolean sparse) {
            return new OrderedIndex<>(name, keys);
        }

        @Override
        public Document handleCommand(Channel channel, String command, Document query, DatabaseResolver databases, Oplog oplog) {
            return Commands.handle(this, cursors, command, query,
                asked -> super.handleCommand(channel, command, asked, databases, oplog));
        }
    }
}
