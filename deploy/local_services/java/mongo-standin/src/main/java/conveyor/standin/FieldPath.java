package conveyor.standin;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;

import de.bwaldvogel.mongo.backend.Missing;
import de.bwaldvogel.mongo.bson.Document;

/** A dotted path, split once: the library's own lookup splits it by a pattern for every document. */
final class FieldPath {

    private final String[] fragments;

    FieldPath(String path) {
        this.fragments = path.split("\\.");
    }

    /** The value, a list of those of all elements where the path leads through an array, or that it is missing. */
    Object in(Document document) {
        return in(document, 0);
    }

    private Object in(Document document, int depth) {
        Object value = document.getOrMissing(fragments[depth]);
        if (depth == fragments.length - 1) {
            return value;
        }
        if (value instanceof Document inner) {
            return in(inner, depth + 1);
        }
        if (!(value instanceof Collection<?> elements)) {
            return Missing.getInstance();
        }
        List<Object> found = new ArrayList<>();
        for (Object element : elements) {
            Object inner = element instanceof Document part ? in(part, depth + 1) : Missing.getInstance();
            if (inner instanceof Collection<?> several) {
                found.addAll(several);
            } else {
                found.add(inner);
            }
        }
        return found;
    }
}
