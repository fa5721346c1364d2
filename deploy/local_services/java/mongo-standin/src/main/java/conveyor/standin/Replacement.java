package conveyor.standin;

import java.util.Optional;

import de.bwaldvogel.mongo.bson.Document;

/**
 * A whole document as an update, still encoded, in the shape that the library hands on unread. No client can write
 * one: what comes over the wire is never an {@link EncodedDocument}.
 */
final class Replacement {

    private static final String FIELD = "$replacement";

    private Replacement() { }

    static Document by(EncodedDocument document) {
        return new Document(FIELD, document);
    }

    static Optional<EncodedDocument> in(Document update) {
        return update.get(FIELD) instanceof EncodedDocument document ? Optional.of(document) : Optional.empty();
    }
}
