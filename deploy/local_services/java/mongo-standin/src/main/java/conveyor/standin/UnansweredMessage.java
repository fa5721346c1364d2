package conveyor.standin;

import de.bwaldvogel.mongo.wire.message.MongoMessage;

/** A message that its sender wants no reply to; one would be taken for the reply to the next. */
final class UnansweredMessage extends MongoMessage {

    UnansweredMessage(MongoMessage message) {
        super(message.getChannel(), message.getHeader(), message.getDocument());
    }
}
