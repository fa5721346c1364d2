package conveyor.standin;

import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.exception.MongoServerException;
import de.bwaldvogel.mongo.wire.MongoDatabaseHandler;
import de.bwaldvogel.mongo.wire.message.ClientRequest;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.group.ChannelGroup;

/** The library's handler, which answers everything, for messages too that want no answer. */
final class RequestHandler extends MongoDatabaseHandler {

    private final MongoBackend backend;

    RequestHandler(MongoBackend backend, ChannelGroup clients) {
        super(backend, clients);
        this.backend = backend;
    }

    @Override
    protected void channelRead0(ChannelHandlerContext context, ClientRequest request) {
        if (request instanceof UnansweredMessage message) {
            handle(message);
        } else {
            super.channelRead0(context, request);
        }
    }

    private void handle(UnansweredMessage message) {
        try {
            backend.handleMessage(message);
        } catch (MongoServerException refused) {
            // Nobody waits to hear of it.
        }
    }
}
