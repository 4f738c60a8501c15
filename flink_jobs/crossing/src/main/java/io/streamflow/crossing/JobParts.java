package io.streamflow.crossing;

import java.time.Duration;
import java.util.Map;
import java.util.Properties;

import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.KafkaSinkBuilder;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.KafkaSourceBuilder;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.OffsetResetStrategy;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.KeyedStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.python.DataStreamPythonFunctionInfo;
import org.apache.flink.streaming.api.functions.python.KeyByKeySelector;
import org.apache.flink.types.Row;

/** The parts of the batched job graph; {@code flink_jobs/job/detector/batched.py} calls these methods. */
public final class JobParts {
    /**
     * Version of what Java and Python hand to each other; {@code flink_jobs/job/detector/batch_runner.py} has the same
     * number and refuses another one.
     */
    public static final int PROTOCOL = 4;

    /** Version of the elements of {@link #purchases}; {@code flink_jobs/job/merchant_source.py} has the same number. */
    public static final int ELEMENTS = PurchaseSchema.VERSION;

    private static final Duration LATENESS = Duration.ofSeconds(5);

    private JobParts() {}

    /**
     * Reads a topic as packed records.
     *
     * @param startFrom {@code committed}, {@code earliest} or {@code latest}; a restored job continues at its own offsets
     * @param isMarked whether the flags are small letters: actions on accounts, and rows of merchants
     * @param isKeyed whether the rows have a routing key, and payloads above {@code maxBytes} are cut to {@code keptBytes}
     */
    public static DataStream<Row> source(
            StreamExecutionEnvironment env,
            String name,
            String topic,
            Map<String, String> properties,
            String startFrom,
            boolean isBounded,
            long idleMs,
            boolean isKeyed,
            boolean isMarked,
            int maxBytes,
            int keptBytes) {
        KafkaSourceBuilder<Row> reader = reader(
                topic, properties, startFrom, new PackedRecordSchema(isKeyed, isMarked, maxBytes, keptBytes));
        if (isBounded) {
            reader.setBounded(OffsetsInitializer.latest());
        }
        return env.fromSource(reader.build(), watermarks(idleMs), name);
    }

    /**
     * Reads the topic of decisions as keyed elements, one for each entity that a decision names; see {@link PurchaseSchema}.
     *
     * @param names fields of the entities
     * @param codes letter of each entity in an element
     * @param prefixes what stands before the id in the key of each entity
     * @param beatEvery number of offsets from one beat to the next
     */
    public static DataStream<Row> purchases(
            StreamExecutionEnvironment env,
            String name,
            String topic,
            Map<String, String> properties,
            long idleMs,
            String[] names,
            String[] codes,
            String[] prefixes,
            int beatEvery) {
        KafkaSource<Row> reader =
                reader(topic, properties, "earliest", new PurchaseSchema(names, codes, prefixes, beatEvery)).build();
        WatermarkStrategy<Row> watermarks =
                watermarks(idleMs).withTimestampAssigner((element, recordTime) -> PurchaseSchema.timeOf(element, recordTime));
        return env.fromSource(reader, watermarks, name);
    }

    private static KafkaSourceBuilder<Row> reader(
            String topic, Map<String, String> properties, String startFrom, KafkaRecordDeserializationSchema<Row> schema) {
        return KafkaSource.<Row>builder()
                .setProperties(asProperties(properties))
                .setTopics(topic)
                .setStartingOffsets(offsets(startFrom))
                .setDeserializer(schema);
    }

    private static WatermarkStrategy<Row> watermarks(long idleMs) {
        return WatermarkStrategy.<Row>forBoundedOutOfOrderness(LATENESS).withIdleness(Duration.ofMillis(idleMs));
    }

    private static OffsetsInitializer offsets(String startFrom) {
        switch (startFrom) {
            case "committed":
                return OffsetsInitializer.committedOffsets(OffsetResetStrategy.EARLIEST);
            case "earliest":
                return OffsetsInitializer.earliest();
            case "latest":
                return OffsetsInitializer.latest();
            default:
                throw new IllegalArgumentException("start offset " + startFrom);
        }
    }

    /**
     * Adds the operator. Records and actions of a customer are one keyed stream, so that they change one state. The type of
     * the key is that of PyFlink, so both crossings restore each other's state.
     */
    public static DataStream<String> detector(
            DataStream<Row> records,
            DataStream<Row> actions,
            DataStream<Row> control,
            Configuration config,
            DataStreamPythonFunctionInfo function,
            Plan plan) {
        KeyedStream<Row, Row> keyed = records.union(actions).keyBy(new KeyByKeySelector(), Types.ROW(Types.STRING));
        TypeInformation<Row> controlType = control.getType();
        return keyed.connect(control.broadcast())
                .transform(
                        "Keyed-Co-Process-Broadcast",
                        Types.STRING,
                        new BatchedDetectorOperator(config, function, records.getType(), controlType, plan));
    }

    /** Writes a stream of {@code key LF value} strings to a topic; without a prefix there are no transactions. */
    public static void sink(
            DataStream<String> stream, String name, String topic, Map<String, String> properties, String transactionalIdPrefix) {
        KafkaSinkBuilder<String> builder = KafkaSink.<String>builder()
                .setKafkaProducerConfig(asProperties(properties))
                .setBootstrapServers(properties.get("bootstrap.servers"))
                .setRecordSerializer(new KeyedMessageSchema(topic));
        if (transactionalIdPrefix == null) {
            builder.setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE);
        } else {
            builder.setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE).setTransactionalIdPrefix(transactionalIdPrefix);
        }
        stream.sinkTo(builder.build()).name(name);
    }

    private static Properties asProperties(Map<String, String> values) {
        Properties properties = new Properties();
        properties.putAll(values);
        return properties;
    }
}
