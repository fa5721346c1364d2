package conveyor.standin;

import java.util.ArrayList;
import java.util.List;

import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.BsonConstants;
import de.bwaldvogel.mongo.wire.MongoWireProtocolHandler;
import de.bwaldvogel.mongo.wire.OpCode;
import de.bwaldvogel.mongo.wire.bson.BsonDecoder;
import de.bwaldvogel.mongo.wire.message.ClientRequest;
import de.bwaldvogel.mongo.wire.message.MessageHeader;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelHandlerContext;

/** Leaves the documents of inserts and replacements encoded; everything else is the library's. */
final class RequestDecoder extends MongoWireProtocolHandler {

    private static final int OP_CODE = 12;
    private static final int FLAGS = 16;
    private static final int SECTIONS = 20;

    /** The client does not wait for an answer: it wrote with `w: 0`. */
    private static final int MORE_TO_COME = 2;

    @Override
    protected ClientRequest decode(ChannelHandlerContext context, ByteBuf input) throws Exception {
        int start = input.readerIndex();
        if (input.readableBytes() < SECTIONS) {
            return super.decode(context, input);
        }
        int length = input.getIntLE(start);
        if (length > MAX_MESSAGE_SIZE_BYTES || input.readableBytes() < length
            || input.getIntLE(start + OP_CODE) != OpCode.OP_MSG.getId()) {
            return super.decode(context, input);
        }
        int flags = input.getIntLE(start + FLAGS);
        if ((flags & MORE_TO_COME) != 0) {
            // The library does not know this flag.
            input.setIntLE(start + FLAGS, flags & ~MORE_TO_COME);
            MongoMessage message = (MongoMessage) decode(context, input);
            return new UnansweredMessage(message);
        }
        if (flags != 0) {
            return super.decode(context, input);
        }
        ByteBuf message = input.slice(start, length);
        Document body = command(message.skipBytes(SECTIONS));
        if (body == null) {
            return super.decode(context, input);
        }
        input.skipBytes(length);
        MessageHeader header = new MessageHeader(length, message.getIntLE(4), message.getIntLE(8));
        return new MongoMessage(context.channel(), header, body);
    }

    /** The command of a body and one sequence of documents that may stay encoded, null for any other. */
    private static Document command(ByteBuf sections) {
        if (sections.readByte() != MongoMessage.SECTION_KIND_BODY) {
            return null;
        }
        int bodyEnd = sections.readerIndex() + sections.getIntLE(sections.readerIndex());
        if (bodyEnd >= sections.writerIndex() || sections.getByte(bodyEnd) != MongoMessage.SECTION_KIND_DOCUMENT_SEQUENCE) {
            return null;
        }
        int sequence = bodyEnd + 1;
        if (sequence + sections.getIntLE(sequence) != sections.writerIndex()) {
            return null;
        }
        Document body = BsonDecoder.decodeBson(sections);
        sections.readerIndex(sequence + Integer.BYTES);
        String name = BsonDecoder.decodeCString(sections);
        List<Document> documents = switch (name) {
            case "documents" -> inserted(sections);
            case "updates" -> updates(sections);
            default -> null;
        };
        return documents == null || body.put(name, documents) != null ? null : body;
    }

    private static List<Document> inserted(ByteBuf sequence) {
        List<EncodedDocument> documents = new ArrayList<>();
        while (sequence.isReadable()) {
            documents.add(EncodedDocument.read(sequence));
        }
        return new EncodedDocuments(documents);
    }

    private static List<Document> updates(ByteBuf sequence) {
        List<Document> updates = new ArrayList<>();
        while (sequence.isReadable()) {
            updates.add(update(sequence));
        }
        return updates;
    }

    private static Document update(ByteBuf sequence) {
        Document update = new Document();
        sequence.skipBytes(Integer.BYTES);
        for (byte type = sequence.readByte(); type != BsonConstants.TERMINATING_BYTE; type = sequence.readByte()) {
            String name = BsonDecoder.decodeCString(sequence);
            boolean isDocument = name.equals("u") && type == BsonConstants.TYPE_EMBEDDED_DOCUMENT;
            update.put(name, isDocument ? change(EncodedDocument.read(sequence)) : BsonDecoder.decodeValue(type, sequence));
        }
        return update;
    }

    private static Document change(EncodedDocument document) {
        return document.hasOperators() ? document.decoded() : Replacement.by(document);
    }
}
