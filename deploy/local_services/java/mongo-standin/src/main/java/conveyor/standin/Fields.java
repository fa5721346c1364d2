package conveyor.standin;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Which fields of a document are wanted. */
final class Fields {

    static final Fields ALL = new Fields(null);

    record Field(String name, byte[] encoded, Fields inner) { }

    private final List<Field> fields;

    private Fields(List<Field> fields) {
        this.fields = fields;
    }

    /** All that these dotted paths may touch. */
    static Fields of(Collection<String> paths) {
        Map<String, List<String>> tails = new LinkedHashMap<>();
        for (String path : paths) {
            int dot = path.indexOf('.');
            String head = dot < 0 ? path : path.substring(0, dot);
            tails.computeIfAbsent(head, ignored -> new ArrayList<>()).add(dot < 0 ? "" : path.substring(dot + 1));
        }
        List<Field> fields = new ArrayList<>();
        for (Map.Entry<String, List<String>> entry : tails.entrySet()) {
            boolean whole = entry.getValue().stream().anyMatch(tail -> tail.isEmpty() || isPlace(tail));
            byte[] encoded = entry.getKey().getBytes(StandardCharsets.UTF_8);
            fields.add(new Field(entry.getKey(), encoded, whole ? ALL : of(entry.getValue())));
        }
        return new Fields(fields);
    }

    /** Whether the path goes on with the number of an array's element. */
    private static boolean isPlace(String path) {
        return Character.isDigit(path.charAt(0));
    }

    boolean all() {
        return fields == null;
    }

    Field find(byte[] bytes, int from, int to) {
        for (Field field : fields) {
            byte[] name = field.encoded();
            if (Arrays.equals(bytes, from, to, name, 0, name.length)) {
                return field;
            }
        }
        return null;
    }
}
