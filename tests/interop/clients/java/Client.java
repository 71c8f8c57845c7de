import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The Java client. The contract and the record format are in tests/interop/README.md. */
public final class Client {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws IOException {
        JsonNode request = JSON.readTree(new File(arguments[1]));
        ObjectNode answer = JSON.createObjectNode();
        try {
            switch (arguments[0]) {
                case "write" -> write(request);
                case "read" -> read(request);
                case "offsets" -> offsets(request, answer);
                case "metadata" -> metadata(request, answer);
                case "create" -> create(request);
                case "admin" -> admin(request, answer);
                case "member" -> member(request);
                default -> answer.put("unsupported", "no " + arguments[0]);
            }
            answer.put("ok", true);
        } catch (Exception thrown) {
            Throwable cause = thrown instanceof ExecutionException ? thrown.getCause() : thrown;
            thrown.printStackTrace();
            answer = JSON.createObjectNode().put("error", cause.toString());
            if (cause instanceof ApiException && Errors.forException(cause) != Errors.UNKNOWN_SERVER_ERROR) {
                answer.put("code", Errors.forException(cause).code());
            }
        }
        System.out.println(answer);
    }

    private static Properties properties(JsonNode request) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", request.get("bootstrap").asText());
        return properties;
    }

    private static void write(JsonNode request) throws Exception {
        Properties properties = properties(request);
        properties.put("compression.type", request.get("codec").asText());
        properties.put("acks", request.get("acks").asText());
        properties.put("enable.idempotence", request.get("idempotent").asBoolean());
        properties.put("max.request.size", 64 << 20);
        properties.put("buffer.memory", 256 << 20);
        properties.put("linger.ms", 20);
        properties.put("delivery.timeout.ms", 30_000);
        properties.put("request.timeout.ms", 20_000);
        String topic = request.get("topic").asText();
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer =
                        new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
                DataInputStream in = new DataInputStream(
                        new BufferedInputStream(new FileInputStream(request.get("input").asText()), 1 << 20))) {
            while (in.available() > 0) {
                int partition = in.readInt();
                in.readLong();
                long timestamp = in.readLong();
                byte[] key = readBytes(in);
                byte[] value = readBytes(in);
                List<Header> headers = new ArrayList<>();
                for (int left = in.readInt(); left > 0; left--) {
                    headers.add(new RecordHeader(new String(readBytes(in), StandardCharsets.UTF_8), readBytes(in)));
                }
                sent.add(producer.send(new ProducerRecord<>(
                        topic, partition < 0 ? null : partition, timestamp < 0 ? null : timestamp, key, value, headers)));
            }
            producer.flush();
        }
        boolean told = !request.get("acks").asText().equals("0");
        try (DataOutputStream out = told ? output(request) : new DataOutputStream(new java.io.ByteArrayOutputStream())) {
            for (Future<RecordMetadata> one : sent) {
                out.writeInt(one.get().partition());
                out.writeLong(one.get().offset());
            }
        }
    }

    /** A member of a group: what it reads goes to the file before it is committed. */
    private static void member(JsonNode request) throws Exception {
        Properties properties = properties(request);
        properties.put("group.id", request.get("group").asText());
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", false);
        properties.put("group.protocol", request.get("protocol").asText());
        if (request.get("protocol").asText().equals("classic")) { // The broker sets those of a consumer group.
            properties.put("session.timeout.ms", 6_000);
            properties.put("heartbeat.interval.ms", 1_000);
        }
        if (!request.get("strategies").isEmpty()) {
            properties.put("partition.assignment.strategy", strategies(request.get("strategies")));
        }
        properties.put("max.poll.records", 100);
        int taken = 0;
        int count = request.get("count").asInt();
        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                DataOutputStream out = output(request)) {
            consumer.subscribe(List.of(request.get("topic").asText()));
            long began = System.currentTimeMillis();
            long last = began; // From here on: a busy machine takes its time to make a consumer.
            while ((count == 0 || taken < count)
                    && System.currentTimeMillis() < last + request.get("idle_ms").asLong()
                    && System.currentTimeMillis() < began + request.get("deadline_ms").asLong()) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
                if (consumer.assignment().isEmpty()) {
                    last = System.currentTimeMillis(); // Nobody is idle before there are partitions to read.
                }
                if (records.isEmpty()) {
                    continue;
                }
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    out.writeInt(record.partition());
                    out.writeLong(record.offset());
                }
                out.flush();
                taken += records.count();
                last = System.currentTimeMillis();
                try {
                    consumer.commitSync(Duration.ofSeconds(5));
                } catch (KafkaException error) {
                    error.printStackTrace(); // Another member reads it again.
                }
            }
        }
    }

    /** The classes that go by these names on the wire. */
    private static List<String> strategies(JsonNode names) {
        List<String> classes = new ArrayList<>();
        for (JsonNode name : names) {
            for (ConsumerPartitionAssignor known : List.<ConsumerPartitionAssignor>of(new RangeAssignor(),
                    new RoundRobinAssignor(), new StickyAssignor(), new CooperativeStickyAssignor())) {
                if (known.name().equals(name.asText())) {
                    classes.add(known.getClass().getName());
                }
            }
        }
        return classes;
    }

    private static KafkaConsumer<byte[], byte[]> consumer(JsonNode request) {
        Properties properties = properties(request);
        properties.put("auto.offset.reset", "none");
        properties.put("enable.auto.commit", false);
        properties.put("allow.auto.create.topics", false);
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static void read(JsonNode request) throws Exception {
        String topic = request.get("topic").asText();
        Map<Integer, Long> left = new HashMap<>();
        List<TopicPartition> partitions = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(request);
                DataOutputStream out = output(request)) {
            for (Iterator<Map.Entry<String, JsonNode>> each = request.get("counts").fields(); each.hasNext(); ) {
                Map.Entry<String, JsonNode> count = each.next();
                partitions.add(new TopicPartition(topic, Integer.parseInt(count.getKey())));
                left.put(Integer.parseInt(count.getKey()), count.getValue().asLong());
            }
            consumer.assign(partitions);
            for (TopicPartition partition : partitions) {
                consumer.seek(partition, request.get("starts").get("" + partition.partition()).asLong());
            }
            long total = left.values().stream().mapToLong(Long::longValue).sum();
            long deadline = System.nanoTime() + request.get("deadline_ms").asLong() * 1_000_000;
            while (total > 0 && System.nanoTime() < deadline) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    if (left.merge(record.partition(), -1L, Long::sum) >= 0) {
                        total--;
                        writeRecord(out, record);
                    }
                }
            }
        }
    }

    private static void writeRecord(DataOutputStream out, ConsumerRecord<byte[], byte[]> record) throws IOException {
        out.writeInt(record.partition());
        out.writeLong(record.offset());
        out.writeLong(record.timestamp());
        writeBytes(out, record.key());
        writeBytes(out, record.value());
        Header[] headers = record.headers().toArray();
        out.writeInt(headers.length);
        for (Header header : headers) {
            writeBytes(out, header.key().getBytes(StandardCharsets.UTF_8));
            writeBytes(out, header.value());
        }
    }

    private static void offsets(JsonNode request, ObjectNode answer) {
        TopicPartition partition = new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(request)) {
            answer.put("earliest", consumer.beginningOffsets(Set.of(partition)).get(partition));
            answer.put("latest", consumer.endOffsets(Set.of(partition)).get(partition));
            OffsetAndTimestamp at =
                    consumer.offsetsForTimes(Map.of(partition, request.get("timestamp").asLong())).get(partition);
            answer.put("at", at == null ? -1 : at.offset());
        }
    }

    private static int partitions(Admin admin, String topic) throws Exception {
        return admin.describeTopics(Set.of(topic)).allTopicNames().get().get(topic).partitions().size();
    }

    private static void metadata(JsonNode request, ObjectNode answer) throws Exception {
        try (Admin admin = Admin.create(properties(request))) {
            answer.put("partitions", partitions(admin, request.get("topic").asText()));
        }
    }

    private static void create(JsonNode request) throws Exception {
        Map<String, String> configs = new HashMap<>();
        request.get("configs").fields().forEachRemaining(config -> configs.put(config.getKey(), config.getValue().asText()));
        try (Admin admin = Admin.create(properties(request))) {
            NewTopic topic = new NewTopic(request.get("topic").asText(), request.get("partitions").asInt(), (short) 1);
            admin.createTopics(Set.of(topic.configs(configs))).all().get();
        }
    }

    private static void admin(JsonNode request, ObjectNode answer) throws Exception {
        String name = request.get("topic").asText();
        try (Admin admin = Admin.create(properties(request))) {
            NewTopic topic = new NewTopic(name, 2, (short) 1).configs(Map.of("retention.ms", "3600000"));
            admin.createTopics(Set.of(topic)).all().get();
            answer.put("listed", until(() -> admin.listTopics().names().get().contains(name)));
            admin.createPartitions(Map.of(name, NewPartitions.increaseTo(5))).all().get();
            until(() -> partitions(admin, name) == 5);
            answer.put("partitions", partitions(admin, name));
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
            answer.put("config", admin.describeConfigs(Set.of(resource)).all().get().get(resource).get("retention.ms").value());
            admin.deleteTopics(Set.of(name)).all().get();
            answer.put("deleted", until(() -> !admin.listTopics().names().get().contains(name)));
        }
    }

    /** What a broker answers may lag behind an acknowledged change by a moment. */
    private static boolean until(Callable<Boolean> what) throws Exception {
        for (int attempt = 0; attempt < 50; attempt++) {
            if (what.call()) {
                return true;
            }
            TimeUnit.MILLISECONDS.sleep(100);
        }
        return false;
    }

    private static DataOutputStream output(JsonNode request) throws IOException {
        return new DataOutputStream(new BufferedOutputStream(new FileOutputStream(request.get("output").asText()), 1 << 20));
    }

    private static byte[] readBytes(DataInputStream in) throws IOException {
        int length = in.readInt();
        return length < 0 ? null : in.readNBytes(length);
    }

    private static void writeBytes(DataOutputStream out, byte[] bytes) throws IOException {
        out.writeInt(bytes == null ? -1 : bytes.length);
        if (bytes != null) {
            out.write(bytes);
        }
    }
}
