package io.streamflow.crossing;

import java.io.IOException;
import java.nio.charset.StandardCharsets;

import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.types.Row;
import org.apache.flink.util.Collector;

/**
 * Reads a decision once and makes a keyed element for each entity that it names, with the few fields that a history needs:
 * {@code P | code | event time LF amount in minor units LF currency LF id}. {@code flink_jobs/job/merchant_source.py} does
 * the same in SQL, with a pass over the decision for each key, and hands over the whole decision. Some decisions are
 * followed by a beat, {@code H | event time}, under a key of its own.
 *
 * <p>It judges nothing: a decision in which one of these fields is unusual is handed over whole, as the SQL does, and
 * Python decides. Bytes that are no JSON object become one element, which Python counts.
 */
final class PurchaseSchema implements KafkaRecordDeserializationSchema<Row> {
    /** Version of the elements; {@code flink_jobs/job/merchant_source.py} has the same number. */
    static final int VERSION = 1;

    private static final long serialVersionUID = 1L;
    private static final char SEPARATOR = '\u001f';
    private static final JsonFactory JSON = new JsonFactory();
    private static final int HEAD = 2;
    /** Key of a beat; no entity has it. */
    private static final String BEAT_KEY = String.valueOf(SEPARATOR);

    /** Field of each entity. */
    private final String[] names;
    /** First letter of each entity, which names it in an element. */
    private final String[] codes;
    /** What stands before the id in the key of each entity; empty for merchants. */
    private final String[] prefixes;
    /** A decision at one of the first two of so many offsets is followed by a beat; of two in a row, one is no marker. */
    private final int beatEvery;
    /** Whether this reader made a beat since it started. */
    private transient boolean hasBeaten;

    PurchaseSchema(String[] names, String[] codes, String[] prefixes, int beatEvery) {
        this.names = names;
        this.codes = codes;
        this.prefixes = prefixes;
        this.beatEvery = beatEvery;
    }

    /** Returns the time of an element: that of its decision, at most that of its record. */
    static long timeOf(Row element, long recordTime) {
        String text = (String) element.getField(1);
        switch (text.charAt(0)) {
            case 'P':
                return Math.min(recordTime, Long.parseLong(text, HEAD, text.indexOf('\n'), 10));
            case 'H':
                return Long.parseLong(text, 1, text.length(), 10);
            default:
                return recordTime;
        }
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Row> out) throws IOException {
        byte[] payload = record.value();
        if (payload == null) {
            return;
        }
        Fields found = Fields.of(payload, names);
        if (found == null) {
            out.collect(Row.of("", whole(0, payload)));
            return;
        }
        String common = found.common();
        for (int i = 0; i < names.length; i++) {
            String id = found.ids[i];
            if (common != null && id != null && !id.isEmpty() && id.indexOf(SEPARATOR) < 0) {
                out.collect(Row.of(prefixes[i] + id, "P" + codes[i] + common + id));
            } else if (found.isNamed[i]) {
                out.collect(Row.of(prefixes[i] + (id == null ? "" : id), whole(i, payload)));
            }
        }
        if (found.timeMs != null && (!hasBeaten || record.offset() % beatEvery < 2)) {
            hasBeaten = true;
            out.collect(Row.of(BEAT_KEY, "H" + Math.min(record.timestamp(), found.timeMs)));
        }
    }

    private String whole(int entity, byte[] payload) {
        return "D" + codes[entity] + new String(payload, StandardCharsets.ISO_8859_1);
    }

    @Override
    public TypeInformation<Row> getProducedType() {
        return Types.ROW(Types.STRING, Types.STRING);
    }

    /** The fields of the first level that count; of two with one name the last. */
    private static final class Fields {
        private final String[] ids;
        private final boolean[] isNamed;
        private Long timeMs;
        private Long amountMinor;
        private String currency;

        private Fields(int entities) {
            ids = new String[entities];
            isNamed = new boolean[entities];
        }

        /** Returns the fields; null for bytes that are no JSON object. */
        static Fields of(byte[] payload, String[] names) {
            try (JsonParser parser = JSON.createParser(payload)) {
                if (parser.nextToken() != JsonToken.START_OBJECT) {
                    return null;
                }
                Fields found = new Fields(names.length);
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    parser.nextToken();
                    found.take(parser, name, names);
                    parser.skipChildren();
                }
                return parser.nextToken() == null ? found : null;
            } catch (IOException noJson) {
                return null;
            }
        }

        private void take(JsonParser parser, String name, String[] names) throws IOException {
            switch (name) {
                case "event_time_ms":
                    timeMs = whole(parser);
                    return;
                case "amount_minor":
                    amountMinor = whole(parser);
                    return;
                case "currency":
                    currency = text(parser);
                    return;
                default:
            }
            for (int i = 0; i < names.length; i++) {
                if (names[i].equals(name)) {
                    ids[i] = text(parser);
                    isNamed[i] = parser.currentToken() != JsonToken.VALUE_NULL;
                }
            }
        }

        /** Returns what the elements of all entities share; null where a field is missing or unusual. */
        String common() {
            if (timeMs == null || amountMinor == null || currency == null || currency.indexOf('\n') >= 0) {
                return null;
            }
            return timeMs + "\n" + amountMinor + "\n" + currency + "\n";
        }

        private static Long whole(JsonParser parser) throws IOException {
            boolean isLong = parser.currentToken() == JsonToken.VALUE_NUMBER_INT
                    && parser.getNumberType() != JsonParser.NumberType.BIG_INTEGER;
            return isLong ? Long.valueOf(parser.getLongValue()) : null;
        }

        private static String text(JsonParser parser) throws IOException {
            return parser.currentToken() == JsonToken.VALUE_STRING ? parser.getText() : null;
        }
    }
}
