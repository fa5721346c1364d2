package conveyor.standin;

import java.util.AbstractList;
import java.util.List;
import java.util.function.Function;
import java.util.function.Predicate;

import de.bwaldvogel.mongo.bson.Document;

/** The documents of an insert, decoded only for those who look at one. */
final class EncodedDocuments extends AbstractList<Document> {

    private final List<EncodedDocument> documents;
    private final Function<EncodedDocument, Document> decoding;

    EncodedDocuments(List<EncodedDocument> documents) {
        this(documents, EncodedDocument::decoded);
    }

    private EncodedDocuments(List<EncodedDocument> documents, Function<EncodedDocument, Document> decoding) {
        this.documents = documents;
        this.decoding = decoding;
    }

    /** The same documents, each decoded in this way when somebody looks at it. */
    EncodedDocuments seenAs(Function<EncodedDocument, Document> decoding) {
        return new EncodedDocuments(documents, decoding);
    }

    boolean any(Predicate<EncodedDocument> condition) {
        return documents.stream().anyMatch(condition);
    }

    @Override
    public Document get(int index) {
        return decoding.apply(documents.get(index));
    }

    @Override
    public int size() {
        return documents.size();
    }
}
