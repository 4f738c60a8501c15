package io.streamflow.crossing;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Header;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.types.Row;
import org.apache.flink.util.Collector;

/**
 * Packs a Kafka record with its coordinates into one byte array; {@code flink_jobs/core/parsing/source_record.py} describes
 * the layout and reads it. The same as the SQL of {@code flink_jobs/job/detector/sources.py}, without conversions.
 */
final class PackedRecordSchema implements KafkaRecordDeserializationSchema<Row> {
    /** Beginning of the key of a record without a readable customer id; the offset follows. */
    static final String UNROUTABLE = "unroutable-";
    /** First byte of an Avro record, whose schema Java does not read. */
    private static final byte AVRO = 0;

    private static final long serialVersionUID = 1L;
    private static final DateTimeFormatter SECOND = DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss.");
    private static final ObjectMapper JSON = new ObjectMapper();

    /** Whether rows hold the routing key and bytes, or one string of ISO 8859-1 (control messages without their key, rows of merchants). */
    private final boolean isKeyed;
    /** Whether the flags are small letters: records that are actions on accounts or rows of merchants. */
    private final boolean isMarked;
    /** A longer payload is replaced by its length, its digest and its first bytes. */
    private final int maxBytes;
    private final int keptBytes;
    private transient long second;
    private transient byte[] secondText;

    PackedRecordSchema(boolean isKeyed, boolean isMarked, int maxBytes, int keptBytes) {
        this.isKeyed = isKeyed;
        this.isMarked = isMarked;
        this.maxBytes = maxBytes;
        this.keptBytes = keptBytes;
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Row> out) throws IOException {
        byte[] payload = record.value();
        if (isKeyed) {
            String key = routingKey(record);
            ByteArrayOutputStream line = head(record, key);
            value(line, payload);
            out.collect(Row.of(key, line.toByteArray()));
        } else {
            String flag = payload == null ? "N" : "V";
            String value = payload == null ? "" : new String(payload, StandardCharsets.ISO_8859_1);
            byte[] key = isMarked ? record.key() : null; // it says whose row it is, for a row that cannot be read
            String whose = key == null ? "" : new String(key, StandardCharsets.UTF_8).replace('\n', ' ');
            String head = head(record, whose).toString(StandardCharsets.UTF_8);
            out.collect(Row.of(head + (isMarked ? flag.toLowerCase(Locale.ROOT) : flag) + value));
        }
    }

    /**
     * The customer id: of a JSON document, or of an Avro record the message key, which the evaluator compares. A record without a readable id uses no state and is routed by its offset, so that invalid records do
     * not all go to one subtask. Line feeds separate packed fields.
     */
    private String routingKey(ConsumerRecord<byte[], byte[]> record) {
        byte[] payload = record.value();
        String id = null;
        if (payload != null && payload.length > 0 && payload.length <= maxBytes) {
            byte[] key = record.key();
            if (payload[0] != AVRO) {
                id = CustomerIds.find(payload);
            } else if (key != null) {
                id = new String(key, StandardCharsets.UTF_8);
            }
        }
        return id == null ? UNROUTABLE + record.offset() : id.replace('\n', ' ');
    }

    private ByteArrayOutputStream head(ConsumerRecord<byte[], byte[]> record, String key) throws IOException {
        byte[] payload = record.value();
        ByteArrayOutputStream line = new ByteArrayOutputStream(96 + (payload == null ? 0 : payload.length));
        text(line, Integer.toString(record.partition()));
        text(line, Long.toString(record.offset()));
        time(line, record.timestamp());
        line.write('\n');
        text(line, headers(record));
        text(line, key);
        return line;
    }

    private void value(ByteArrayOutputStream line, byte[] payload) {
        if (payload == null) {
            line.write(isMarked ? 'n' : 'N');
        } else if (payload.length <= maxBytes) {
            line.write(isMarked ? 'v' : 'V');
            line.write(payload, 0, payload.length);
        } else {
            line.write(isMarked ? 'l' : 'L');
            text(line, Integer.toString(payload.length));
            text(line, sha256(payload));
            line.write(payload, 0, keptBytes);
        }
    }

    private static void text(ByteArrayOutputStream line, String field) {
        byte[] bytes = field.getBytes(StandardCharsets.UTF_8);
        line.write(bytes, 0, bytes.length);
        line.write('\n');
    }

    private void time(ByteArrayOutputStream line, long ms) {
        long its = Math.floorDiv(ms, 1000L);
        if (secondText == null || its != second) {
            second = its;
            secondText = LocalDateTime.ofEpochSecond(its, 0, ZoneOffset.UTC).format(SECOND).getBytes(StandardCharsets.US_ASCII);
        }
        line.write(secondText, 0, secondText.length);
        int rest = (int) Math.floorMod(ms, 1000L);
        line.write('0' + rest / 100);
        line.write('0' + rest / 10 % 10);
        line.write('0' + rest % 10);
    }

    /** Headers as JSON with base64 values, empty without headers; of two headers with one name the last counts. */
    private static String headers(ConsumerRecord<byte[], byte[]> record) throws IOException {
        Map<String, String> values = null;
        for (Header header : record.headers()) {
            if (values == null) {
                values = new LinkedHashMap<>();
            }
            byte[] value = header.value();
            values.put(header.key(), value == null ? null : Base64.getEncoder().encodeToString(value));
        }
        return values == null ? "" : JSON.writeValueAsString(values);
    }

    private static String sha256(byte[] payload) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(payload));
        } catch (NoSuchAlgorithmException missing) {
            throw new IllegalStateException("every Java has SHA-256", missing);
        }
    }

    @Override
    public TypeInformation<Row> getProducedType() {
        return isKeyed ? Types.ROW(Types.STRING, Types.PRIMITIVE_ARRAY(Types.BYTE)) : Types.ROW(Types.STRING);
    }
}
