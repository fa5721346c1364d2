package conveyor.standin;

import java.time.Duration;
import java.time.Instant;
import java.util.List;

import de.bwaldvogel.mongo.backend.AbstractCursor;
import de.bwaldvogel.mongo.bson.Document;

/** What a query found, handed out in batches that end at a number of documents or at a size. */
final class BatchCursor extends AbstractCursor {

    /** In the measure of {@link EncodedSize}: three times as many bytes are still a message that drivers take. */
    private static final long MAX_SIZE = 15_000_000;

    private final List<Document> found;
    private final boolean isSmall;
    private int taken;
    private Instant lastUsed = Instant.now();

    /** None of the documents has more bytes than the largest; to measure them is a tenth of a small query's work. */
    BatchCursor(long id, List<Document> found, long largest) {
        super(id);
        this.found = found;
        this.isSmall = found.size() * largest <= MAX_SIZE;
    }

    @Override
    public synchronized boolean isEmpty() {
        return taken == found.size();
    }

    synchronized boolean isIdleFor(Duration time) {
        return lastUsed.plus(time).isBefore(Instant.now());
    }

    /** Up to this many, at least one; without a limit of their number if it is 0. */
    @Override
    public synchronized List<Document> takeDocuments(int limit) {
        int left = found.size() - taken;
        int end = endOfBatch(taken + (limit > 0 ? Math.min(limit, left) : left));
        List<Document> batch = found.subList(taken, end);
        taken = end;
        lastUsed = Instant.now();
        return batch;
    }

    private int endOfBatch(int last) {
        if (isSmall || last - taken <= 1) {
            return last;
        }
        long room = MAX_SIZE;
        for (int place = taken; place < last; place++) {
            room -= EncodedSize.of(found.get(place));
            if (room < 0 && place > taken) {
                return place;
            }
        }
        return last;
    }
}
