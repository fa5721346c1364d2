package conveyor.standin;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.BsonConstants;
import de.bwaldvogel.mongo.wire.bson.BsonDecoder;
import de.bwaldvogel.mongo.wire.bson.BsonEncoder;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;

/**
 * A document as it came over the wire and as it is kept: a quarter of the heap that the decoded one takes, and one
 * object for the collector to move instead of hundreds.
 */
final class EncodedDocument {

    private static final int LENGTH_BYTES = 4;

    private final byte[] bytes;

    private EncodedDocument(byte[] bytes) {
        this.bytes = bytes;
    }

    static EncodedDocument of(Document document) {
        ByteBuf buffer = Unpooled.buffer();
        BsonEncoder.encodeDocument(document, buffer);
        return read(buffer);
    }

    /** The next document of the buffer; refuses what the library's decoder would as too large or cut off. */
    static EncodedDocument read(ByteBuf buffer) {
        int length = buffer.getIntLE(buffer.readerIndex());
        if (buffer.readableBytes() < length || length <= LENGTH_BYTES) {
            throw new IllegalArgumentException("BSON object of " + length + " bytes in " + buffer.readableBytes());
        }
        if (length - LENGTH_BYTES > BsonConstants.MAX_BSON_OBJECT_SIZE) {
            throw new IllegalArgumentException("BSON object too large: " + length + " bytes");
        }
        byte[] bytes = new byte[length];
        buffer.readBytes(bytes);
        return new EncodedDocument(bytes);
    }

    int length() {
        return bytes.length;
    }

    Document decoded() {
        return BsonDecoder.decodeBson(Unpooled.wrappedBuffer(bytes));
    }

    /** Only these fields; what lies between them is stepped over. */
    Document decoded(Fields fields) {
        return fields.all() ? decoded() : new Walk().document(0, fields);
    }

    /** The name of its first field, empty if it has none. */
    String firstName() {
        Walk walk = new Walk();
        walk.enter(0);
        return walk.next() ? walk.text(walk.name, walk.value - 1) : "";
    }

    /** Whether a field on the first level is an operator's. */
    boolean hasOperators() {
        Walk walk = new Walk();
        for (walk.enter(0); walk.next(); walk.skip()) {
            if (bytes[walk.name] == '$') {
                return true;
            }
        }
        return false;
    }

    /** Whether a field on the first level has a dot in its name. */
    boolean hasDottedName() {
        Walk walk = new Walk();
        for (walk.enter(0); walk.next(); walk.skip()) {
            for (int place = walk.name; place < walk.value; place++) {
                if (bytes[place] == '.') {
                    return true;
                }
            }
        }
        return false;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof EncodedDocument document && Arrays.equals(bytes, document.bytes);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(bytes);
    }

    /** A place in the bytes: at an element between `next()` and `skip()`. */
    private final class Walk {

        private final ByteBuf buffer = Unpooled.wrappedBuffer(bytes);
        private int place;
        private byte type;
        private int name;
        private int value;

        void enter(int start) {
            place = start + LENGTH_BYTES;
        }

        boolean next() {
            type = bytes[place];
            if (type == BsonConstants.TERMINATING_BYTE) {
                place++;
                return false;
            }
            name = place + 1;
            value = afterText(name);
            return true;
        }

        void skip() {
            place = value + switch (type) {
                case BsonConstants.TYPE_UNDEFINED, BsonConstants.TYPE_NULL, BsonConstants.TYPE_MIN_KEY,
                     BsonConstants.TYPE_MAX_KEY -> 0;
                case BsonConstants.TYPE_BOOLEAN -> 1;
                case BsonConstants.TYPE_INT32 -> 4;
                case BsonConstants.TYPE_DOUBLE, BsonConstants.TYPE_UTC_DATETIME, BsonConstants.TYPE_TIMESTAMP,
                     BsonConstants.TYPE_INT64 -> 8;
                case BsonConstants.TYPE_OBJECT_ID -> BsonConstants.LENGTH_OBJECTID;
                case BsonConstants.TYPE_DECIMAL128 -> 16;
                case BsonConstants.TYPE_UTF8_STRING, BsonConstants.TYPE_JAVASCRIPT_CODE -> LENGTH_BYTES + lengthAt(value);
                case BsonConstants.TYPE_DATA -> LENGTH_BYTES + 1 + lengthAt(value);
                case BsonConstants.TYPE_EMBEDDED_DOCUMENT, BsonConstants.TYPE_ARRAY -> lengthAt(value);
                case BsonConstants.TYPE_REGEX -> afterText(afterText(value)) - value;
                default -> throw new IllegalArgumentException("unknown type: 0x" + Integer.toHexString(type));
            };
        }

        Document document(int start, Fields fields) {
            Document document = new Document();
            for (enter(start); next(); ) {
                Fields.Field field = fields.find(bytes, name, value - 1);
                if (field == null) {
                    skip();
                } else {
                    document.put(field.name(), value(field.inner()));
                }
            }
            return document;
        }

        /** The value of the present element, which it leaves behind. */
        private Object value(Fields fields) {
            if (!fields.all() && type == BsonConstants.TYPE_EMBEDDED_DOCUMENT) {
                return document(value, fields);
            }
            if (!fields.all() && type == BsonConstants.TYPE_ARRAY) {
                List<Object> elements = new ArrayList<>();
                for (enter(value); next(); ) {
                    elements.add(value(type == BsonConstants.TYPE_ARRAY ? Fields.ALL : fields));
                }
                return elements;
            }
            byte decoded = type;
            int start = value;
            skip();
            buffer.readerIndex(start);
            return BsonDecoder.decodeValue(decoded, buffer);
        }

        String text(int from, int to) {
            return new String(bytes, from, to - from, StandardCharsets.UTF_8);
        }

        private int lengthAt(int index) {
            return buffer.getIntLE(index);
        }

        private int afterText(int start) {
            int end = start;
            while (bytes[end] != BsonConstants.STRING_TERMINATION) {
                end++;
            }
            return end + 1;
        }
    }
}
