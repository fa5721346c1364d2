package conveyor.standin;

import java.util.List;
import java.util.concurrent.CountDownLatch;

import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoVersion;

/** {@code Main HOST PORT memory} or {@code Main HOST PORT h2 FILE}. */
public final class Main {

    /** What MongoDB 5.0 reports; current drivers refuse the library's own highest version. */
    private static final MongoVersion VERSION = new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 13;
        }
    };

    private Main() { }

    public static void main(String[] args) throws InterruptedException {
        MongoBackend backend = switch (args[2]) {
            case "memory" -> new IndexedMemoryBackend();
            case "h2" -> new IndexedH2Backend(args[3]);
            default -> throw new IllegalArgumentException("unknown backend: " + args[2]);
        };
        StandinServer server = new StandinServer(backend.version(VERSION), args[0], Integer.parseInt(args[1]));

        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            server.stop();
            stopped.countDown();
        }));
        stopped.await();
    }
}
