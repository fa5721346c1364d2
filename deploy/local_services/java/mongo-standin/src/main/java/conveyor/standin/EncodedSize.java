package conveyor.standin;

import java.util.Collection;
import java.util.Map;

import de.bwaldvogel.mongo.bson.BinData;
import de.bwaldvogel.mongo.bson.Document;

/** How many bytes a document takes in a reply, without encoding it: a character counts as one, and takes up to three. */
final class EncodedSize {

    private static final int FRAME = 5;
    private static final int NAME_FRAME = 2;
    private static final int PLACE_IN_ARRAY = 8;
    private static final int LARGEST_NUMBER = 16;

    private EncodedSize() { }

    static long of(Document document) {
        long size = FRAME;
        for (Map.Entry<String, Object> field : document.entrySet()) {
            size += NAME_FRAME + field.getKey().length() + ofValue(field.getValue());
        }
        return size;
    }

    private static long ofValue(Object value) {
        if (value instanceof String text) {
            return FRAME + text.length();
        }
        if (value instanceof Document document) {
            return of(document);
        }
        if (value instanceof Collection<?> elements) {
            return FRAME + elements.stream().mapToLong(element -> PLACE_IN_ARRAY + ofValue(element)).sum();
        }
        return value instanceof BinData binary ? FRAME + binary.getData().length : LARGEST_NUMBER;
    }
}
