package io.streamflow.crossing;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.Test;

class PurchaseSchemaTest {
    private static final String WHEN = "\"event_time_ms\":1700000000000";
    private static final String MONEY = "\"amount_minor\":1999,\"currency\":\"EUR\"";
    private static final String COMMON = "1700000000000\n1999\nEUR\n";

    private static PurchaseSchema schema() {
        return new PurchaseSchema(
                new String[] {"merchant", "card"}, new String[] {"m", "c"}, new String[] {"", "card\u001f"}, 32);
    }

    private static List<Row> read(PurchaseSchema schema, byte[] value, long offset) throws Exception {
        return Reading.read(schema, offset, null, value, new RecordHeaders());
    }

    /** Reads with a schema that made the beat of its start already. */
    private static List<Row> read(byte[] value, long offset) throws Exception {
        PurchaseSchema schema = schema();
        read(schema, ("{" + WHEN + "}").getBytes(StandardCharsets.UTF_8), 7);
        return read(schema, value, offset);
    }

    private static List<Row> read(String json) throws Exception {
        return read(json.getBytes(StandardCharsets.UTF_8), 7);
    }

    private static List<Row> whole(String json, String... keysAndCodes) {
        List<Row> rows = new ArrayList<>();
        for (int i = 0; i < keysAndCodes.length; i += 2) {
            String text = new String(json.getBytes(StandardCharsets.UTF_8), StandardCharsets.ISO_8859_1);
            rows.add(Row.of(keysAndCodes[i], "D" + keysAndCodes[i + 1] + text));
        }
        return rows;
    }

    @Test
    void eachEntityOfADecisionGetsTheFieldsOfItsHistory() throws Exception {
        String json = "{\"features\":{\"merchant\":\"no\",\"card\":[1]},\"merchant\":\"K\u00fcche \\\"1\\\"\"," + MONEY + ",\"card\":\"c-1\"," + WHEN + "}";
        assertEquals(
                List.of(
                        Row.of("K\u00fcche \"1\"", "Pm" + COMMON + "K\u00fcche \"1\""),
                        Row.of("card\u001fc-1", "Pc" + COMMON + "c-1")),
                read(json));
    }

    @Test
    void anEntityThatIsNotNamedHasNoElement() throws Exception {
        assertEquals(List.of(Row.of("m", "Pm" + COMMON + "m")), read("{\"merchant\":\"m\"," + MONEY + "," + WHEN + "}"));
        assertEquals(List.of(), read("{\"merchant\":null,\"card\":null," + MONEY + "," + WHEN + "}"));
        assertEquals(List.of(), read(null, 7));
    }

    @Test
    void ofTwoFieldsOfOneNameTheLastCounts() throws Exception {
        String twice = "{\"merchant\":\"a\",\"merchant\":\"b\",\"amount_minor\":1," + MONEY + "," + WHEN + "}";
        assertEquals(List.of(Row.of("b", "Pm" + COMMON + "b")), read(twice));
        assertEquals(List.of(), read("{\"merchant\":\"a\",\"merchant\":null," + MONEY + "," + WHEN + "}"));
    }

    @Test
    void anUnusualDecisionIsHandedOverWhole() throws Exception {
        for (String rest : new String[] {
            MONEY, WHEN, MONEY + ",\"event_time_ms\":1.5", MONEY + ",\"event_time_ms\":99999999999999999999",
            WHEN + ",\"currency\":\"EUR\",\"amount_minor\":\"1\"", WHEN + ",\"amount_minor\":1,\"currency\":7",
        }) {
            String json = "{\"merchant\":\"m\",\"card\":\"c\"," + rest + "}";
            assertEquals(whole(json, "m", "m", "card\u001fc", "c"), read(json));
        }
        for (String id : new String[] {"7", "true", "[\"x\"]", "{}", "\"\""}) {
            String json = "{\"merchant\":" + id + "," + MONEY + "," + WHEN + "}";
            assertEquals(whole(json, "", "m"), read(json));
        }
        String separator = "{\"merchant\":\"card\\u001fx\"," + MONEY + "," + WHEN + "}";
        assertEquals(whole(separator, "card\u001fx", "m"), read(separator));
    }

    @Test
    void bytesThatAreNoObjectBecomeOneElement() throws Exception {
        for (String text : new String[] {"", "{", "[]", "{\"merchant\":\"m\"} {}", "null", "{\"merchant\":\"m\",}"}) {
            assertEquals(whole(text, "", "m"), read(text));
        }
    }

    @Test
    void theFirstTwoOfThirtyTwoOffsetsAreFollowedByABeat() throws Exception {
        byte[] json = ("{\"merchant\":\"m\"," + MONEY + "," + WHEN + "}").getBytes(StandardCharsets.UTF_8);
        assertEquals(1, read(json, 34).size());
        assertEquals(Row.of("\u001f", "H1700000000000"), read(json, 64).get(1));
        assertEquals(Row.of("\u001f", "H1700000000000"), read(json, 65).get(1));
        assertEquals(List.of(), read("{}".getBytes(StandardCharsets.UTF_8), 64));
    }

    @Test
    void theFirstDecisionOfAReaderIsFollowedByABeat() throws Exception {
        PurchaseSchema schema = schema();
        byte[] json = ("{" + WHEN + "}").getBytes(StandardCharsets.UTF_8);
        assertEquals(List.of(), read(schema, "{}".getBytes(StandardCharsets.UTF_8), 7));
        assertEquals(List.of(Row.of("\u001f", "H1700000000000")), read(schema, json, 8));
        assertEquals(List.of(), read(schema, json, 9));
    }

    @Test
    void timeIsThatOfTheDecisionAndAtMostThatOfTheRecord() {
        assertEquals(1_700_000_000_000L, PurchaseSchema.timeOf(Row.of("m", "Pm" + COMMON + "m"), Reading.AT));
        assertEquals(5L, PurchaseSchema.timeOf(Row.of("m", "Pm" + COMMON + "m"), 5L));
        assertEquals(1_700_000_000_000L, PurchaseSchema.timeOf(Row.of("\u001f", "H1700000000000"), Reading.AT));
        assertEquals(Reading.AT, PurchaseSchema.timeOf(Row.of("m", "Dm{}"), Reading.AT));
    }
}
