// Apache's Kafka client and the CloudEvents SDK for Java, driven over lines of JSON; see tests/foreign_clients/client.py.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.jackson.JsonFormat;
import io.cloudevents.kafka.KafkaMessageFactory;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RoundRobinPartitioner;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class Client {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final JsonFormat FORMAT = new JsonFormat();
    private static final Duration POLL = Duration.ofMillis(100);
    private static final String COMPENSATION = "orchestration.step.compensation-requested";
    private static final Map<String, Class<?>> PARTITIONERS = Map.of("round-robin", RoundRobinPartitioner.class);

    private final String bootstrap;

    private Client(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] arguments) throws Exception {
        var client = new Client(arguments[1]);
        switch (arguments[0]) {
            case "send" -> client.send();
            case "participate" -> client.participate(arguments[2], arguments[3]);
            case "read" -> client.read(arguments[2]);
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private void send() throws IOException {
        var producers = new HashMap<List<String>, KafkaProducer<String, byte[]>>();
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (var line = lines.readLine(); line != null; line = lines.readLine()) {
            var order = JSON.readTree(line);
            var kind = List.of(order.path("compression").asText("none"), order.path("partitioner").asText("murmur2"));
            var id = order.at("/event/id").asText();
            var said = JSON.createObjectNode();
            try {
                var producer = producers.computeIfAbsent(kind, this::producer);
                said.put("sent", id).put("partition", producer.send(encoded(order)).get().partition());
            } catch (Exception error) {
                said.put("failed", id).put("error", error.toString());
            }
            System.out.println(said);
        }
        producers.values().forEach(KafkaProducer::close);
    }

    private void participate(String requests, String replies) throws Exception {
        try (var producer = producer(List.of("none", "murmur2"));
                var consumer = consumer(Map.of("group.id", "foreign-java"))) {
            consumer.subscribe(List.of(requests));
            while (true) {
                for (var record : consumer.poll(POLL)) {
                    var request = decoded(record);
                    System.out.println(request);
                    producer.send(encoded(reply(request, replies))).get();
                }
            }
        }
    }

    private static JsonNode reply(JsonNode request, String topic) {
        var asked = request.path("data");
        var order = JSON.createObjectNode().put("topic", topic);
        order.set("mode", asked.at("/input/reply"));
        order.set("key", asked.path("workflowId"));
        var event = order.putObject("event")
            .put("id", request.at("/attributes/id").asText() + "/reply")
            .put("source", "/foreign/java")
            .put("type", "orchestration.step.completed");
        event.set("subject", asked.path("workflowId"));
        event.set("idempotencykey", request.at("/attributes/idempotencykey"));
        var data = event.putObject("data");
        for (var name : List.of("workflowId", "stepId", "attempt", "round")) {
            data.set(name, asked.path(name));
        }
        data.put("compensation", request.at("/attributes/type").asText().equals(COMPENSATION));
        data.putObject("output").put("packedBy", "java");
        return order;
    }

    private void read(String topic) throws IOException {
        try (var consumer = consumer(Map.of())) {
            var partitions = consumer.partitionsFor(topic).stream()
                .map(each -> new TopicPartition(topic, each.partition()))
                .collect(Collectors.toList());
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(each -> consumer.position(each) < ends.get(each))) {
                for (var record : consumer.poll(POLL)) {
                    System.out.println(decoded(record));
                }
            }
        }
    }

    /** The record of an event as the SDK writes it, changed where an order says so. */
    private static ProducerRecord<String, byte[]> encoded(JsonNode order) throws IOException {
        var key = order.path("key").textValue();
        var writer = KafkaMessageFactory.<String>createWriter(order.path("topic").asText(), key);
        var format = order.path("base64").asBoolean() ? FORMAT.withForceJsonDataToBase64() : FORMAT;
        var isStructured = order.path("mode").asText().equals("structured");
        var event = event(order.path("event"));
        var written = isStructured ? writer.writeStructured(event, format) : writer.writeBinary(event);
        var value = written.value();
        if (order.has("envelope")) {
            var envelope = (ObjectNode) JSON.readTree(value);
            envelope.setAll((ObjectNode) order.path("envelope"));
            value = JSON.writeValueAsBytes(envelope);
        }
        Set<String> dropped = new HashSet<>();
        order.path("drop").forEach(name -> dropped.add(name.asText()));
        List<Header> headers = new ArrayList<>();
        for (var header : written.headers()) {
            var name = order.path("upper").asBoolean() ? header.key().toUpperCase() : header.key();
            if (!dropped.contains(header.key())) {
                headers.add(new RecordHeader(name, header.value()));
            }
        }
        for (var header : order.path("headers")) {
            var name = new String(Base64.getDecoder().decode(header.path(0).asText()), StandardCharsets.UTF_8);
            headers.add(new RecordHeader(name, header.path(1).isNull() ? null : header.path(1).binaryValue()));
        }
        return new ProducerRecord<>(written.topic(), null, null, key, value, headers);
    }

    private static CloudEvent event(JsonNode described) throws IOException {
        var builder = CloudEventBuilder.v1();
        for (var fields = described.fields(); fields.hasNext(); ) {
            var field = fields.next();
            var value = field.getValue();
            switch (field.getKey()) {
                case "id" -> builder.withId(value.asText());
                case "source" -> builder.withSource(URI.create(value.asText()));
                case "type" -> builder.withType(value.asText());
                case "subject" -> builder.withSubject(value.asText());
                case "time" -> builder.withTime(OffsetDateTime.parse(value.asText()));
                case "data" -> builder.withData("application/json", JSON.writeValueAsBytes(value));
                default -> {
                    if (value.isBoolean()) {
                        builder.withExtension(field.getKey(), value.booleanValue());
                    } else if (value.isNumber()) {
                        builder.withExtension(field.getKey(), value.numberValue());
                    } else {
                        builder.withExtension(field.getKey(), value.asText());
                    }
                }
            }
        }
        return builder.build();
    }

    /** A CloudEvent as the SDK reads it, which refuses what is not valid. */
    private static JsonNode decoded(ConsumerRecord<String, byte[]> record) throws IOException {
        var event = KafkaMessageFactory.createReader(record).toEvent();
        var attributes = (ObjectNode) JSON.readTree(FORMAT.serialize(event));
        var decoded = JSON.createObjectNode();
        decoded.set("data", attributes.remove("data"));
        decoded.set("attributes", attributes);
        return decoded;
    }

    private KafkaProducer<String, byte[]> producer(List<String> kind) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("compression.type", kind.get(0));
        if (PARTITIONERS.containsKey(kind.get(1))) {
            settings.put("partitioner.class", PARTITIONERS.get(kind.get(1)));
        }
        return new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer());
    }

    private KafkaConsumer<String, byte[]> consumer(Map<String, Object> own) {
        Map<String, Object> settings = new HashMap<>(own);
        settings.put("bootstrap.servers", bootstrap);
        settings.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer());
    }
}
