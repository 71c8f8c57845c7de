// Writes messages with Apache Kafka's own classes: core/wire/tests/golden.rs reads them and writes the same bytes.
//
//   for jar in kafka-clients:4.3.1 kafka-metadata:4.3.1 kafka-server-common:4.3.1 kafka-raft:4.3.1 \
//           kafka-group-coordinator:4.3.1; do
//       mvn -q dependency:copy -Dartifact=org.apache.kafka:$jar -DoutputDirectory=libs; done
//   mvn -q dependency:copy -Dartifact=org.slf4j:slf4j-api:1.7.36 -DoutputDirectory=libs
//   java -cp 'libs/*' GoldenBytes.java . 2>/dev/null
//
// Every version of every message comes twice. In the first line everything is there, and each value follows from
// its field's name alone, so that the reader can tell whether it took a value for the right field. In the second,
// what can be null is null, arrays are empty and tagged fields are absent.

import java.io.PrintStream;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.metadata.MetadataRecordType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.coordinator.group.generated.CoordinatorRecordType;
import org.apache.kafka.metadata.MetadataRecordSerde;
import org.apache.kafka.server.common.ApiMessageAndVersion;

public class GoldenBytes {
    static final String[] APIS = {
        "Produce", "Fetch", "ListOffsets", "Metadata", "OffsetCommit", "OffsetFetch", "FindCoordinator", "JoinGroup",
        "Heartbeat", "LeaveGroup", "SyncGroup", "DescribeGroups", "ListGroups", "ApiVersions", "CreateTopics",
        "DeleteTopics", "DeleteRecords", "InitProducerId", "OffsetForLeaderEpoch", "DescribeConfigs", "AlterConfigs",
        "DescribeLogDirs", "CreatePartitions", "DeleteGroups", "IncrementalAlterConfigs", "OffsetDelete",
        "Vote", "BeginQuorumEpoch", "EndQuorumEpoch", "DescribeQuorum", "DescribeCluster", "DescribeProducers",
        "ConsumerGroupHeartbeat", "ConsumerGroupDescribe", "ListConfigResources", "DescribeTopicPartitions",
        "AddRaftVoter", "RemoveRaftVoter", "ElectLeaders", "AlterPartitionReassignments",
        "ListPartitionReassignments", "AlterPartition", "BrokerRegistration", "BrokerHeartbeat", "UnregisterBroker",
        "AllocateProducerIds", "FetchSnapshot", "UpdateFeatures", "AssignReplicasToDirs",
        "UpdateRaftVoter",
    };
    static final String[] CONSUMER_PROTOCOL = {"ConsumerProtocolSubscription", "ConsumerProtocolAssignment"};
    static final String[] CONTROL = {
        "LeaderChangeMessage", "SnapshotHeaderRecord", "SnapshotFooterRecord", "KRaftVersionRecord", "VotersRecord",
        "EndTxnMarker",
    };

    public static void main(String[] args) throws Exception {
        try (PrintStream out = new PrintStream(args[0] + "/apis.txt")) {
            for (String api : APIS) {
                messages(out, api + "Request", "org.apache.kafka.common.message." + api + "RequestData");
                messages(out, api + "Response", "org.apache.kafka.common.message." + api + "ResponseData");
            }
        }
        try (PrintStream out = new PrintStream(args[0] + "/control.txt")) {
            for (String name : CONTROL) {
                messages(out, name, "org.apache.kafka.common.message." + name);
            }
        }
        try (PrintStream out = new PrintStream(args[0] + "/consumer_protocol.txt")) {
            for (String name : CONSUMER_PROTOCOL) {
                messages(out, name, "org.apache.kafka.common.message." + name);
            }
        }
        try (PrintStream out = new PrintStream(args[0] + "/group.txt")) {
            for (CoordinatorRecordType type : CoordinatorRecordType.values()) {
                // Keys and values have lines of their own, as a record of the log has both.
                if (!type.name().startsWith("SHARE_") && !type.name().startsWith("STREAMS_")) {
                    ApiMessage key = type.newRecordKey();
                    ApiMessage value = type.newRecordValue();
                    print(out, key.getClass().getSimpleName(), (short) 0, MessageUtil.toCoordinatorTypePrefixedBytes(
                        (ApiMessage) message(key.getClass(), (short) 0, true)));
                    for (short v = value.lowestSupportedVersion(); v <= value.highestSupportedVersion(); v++) {
                        for (boolean full : new boolean[] {true, false}) {
                            Message body = message(value.getClass(), v, full);
                            byte[] bytes = MessageUtil.toVersionPrefixedBytes(v, body);
                            print(out, value.getClass().getSimpleName(), v, bytes);
                        }
                    }
                }
            }
        }
        try (PrintStream out = new PrintStream(args[0] + "/metadata.txt")) {
            for (MetadataRecordType type : MetadataRecordType.values()) {
                ApiMessage empty = type.newMetadataRecord();
                for (short v = empty.lowestSupportedVersion(); v <= empty.highestSupportedVersion(); v++) {
                    for (boolean full : new boolean[] {true, false}) {
                        ApiMessage record = (ApiMessage) message(empty.getClass(), v, full);
                        ApiMessageAndVersion versioned = new ApiMessageAndVersion(record, v);
                        ObjectSerializationCache cache = new ObjectSerializationCache();
                        int size = MetadataRecordSerde.INSTANCE.recordSize(versioned, cache);
                        ByteBuffer buffer = ByteBuffer.allocate(size);
                        MetadataRecordSerde.INSTANCE.write(versioned, cache, new ByteBufferAccessor(buffer));
                        print(out, empty.getClass().getSimpleName(), v, buffer);
                    }
                }
            }
        }
    }

    static void messages(PrintStream out, String name, String className) throws Exception {
        Class<?> type = Class.forName(className);
        Message empty = (Message) type.getConstructor().newInstance();
        for (short v = empty.lowestSupportedVersion(); v <= empty.highestSupportedVersion(); v++) {
            print(out, name, v, bytes(message(type, v, true), v));
            print(out, name, v, bytes(message(type, v, false), v));
        }
    }

    static void print(PrintStream out, String name, short version, ByteBuffer buffer) {
        print(out, name, version, buffer.array());
    }

    static void print(PrintStream out, String name, short version, byte[] bytes) {
        out.println(name + " " + version + " " + HexFormat.of().formatHex(bytes));
    }

    static ByteBuffer bytes(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        return buffer;
    }

    // A message by way of its schema: what the class makes of the schema's bytes is written again by the class.
    static Message message(Class<?> type, short version, boolean full) throws Exception {
        Field schemas = type.getField("SCHEMAS");
        Schema schema = ((Schema[]) schemas.get(null))[version];
        Struct struct = struct(schema, full);
        ByteBuffer buffer = ByteBuffer.allocate(schema.sizeOf(struct));
        schema.write(buffer, struct);
        buffer.flip();
        Message message = (Message) type.getConstructor().newInstance();
        message.read(new ByteBufferAccessor(buffer), version);
        return message;
    }

    static Struct struct(Schema schema, boolean full) {
        Struct struct = new Struct(schema);
        for (BoundField field : schema.fields()) {
            struct.set(field, value(field.def.name, field.def.type, full));
        }
        return struct;
    }

    static Object value(String name, Type type, boolean full) {
        if (type instanceof TaggedFields) {
            TreeMap<Integer, Object> tagged = new TreeMap<>();
            if (full) {
                ((TaggedFields) type).fields().forEach((tag, f) -> tagged.put(tag, value(f.name, f.type, true)));
            }
            return tagged;
        }
        if (!full && type.isNullable()) {
            return null;
        }
        if (type.isArray()) {
            Type element = type.arrayElementType().get();
            return full ? new Object[] {value(name, element, full), value(name, element, full)} : new Object[0];
        }
        if (type instanceof Schema) {
            return struct((Schema) type, full);
        }
        return primitive(name.replace("k_raft", "kraft"), type.toString());
    }

    static Object primitive(String name, String type) {
        long hash = 0x811c9dc5L;
        for (byte b : name.getBytes(StandardCharsets.UTF_8)) {
            hash = ((hash ^ b) * 0x01000193L) & 0xffffffffL;
        }
        switch (type) {
            case "BOOLEAN": return true;
            case "INT8": return (byte) (10 + hash % 100);
            case "INT16": return (short) (200 + hash % 30000);
            case "UINT16": return (int) (40000 + hash % 20000);
            case "INT32": return (int) (1000000 + hash % 1000000000);
            case "INT64": return 10000000000L + hash;
            case "FLOAT64": return 0.25 + hash;
            case "UUID": return new Uuid(hash, hash);
        }
        byte[] text = name.getBytes(StandardCharsets.UTF_8);
        if (type.endsWith("STRING")) {
            return name;
        } else if (type.endsWith("RECORDS")) {
            return MemoryRecords.readableRecords(ByteBuffer.wrap(text));
        } else if (type.endsWith("BYTES")) {
            return ByteBuffer.wrap(text);
        }
        throw new IllegalStateException(type);
    }
}
