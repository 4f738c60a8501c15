package io.streamflow.crossing;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.util.List;

import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.Test;

class PackedRecordSchemaTest {
    private static final String HEAD = "2\n7\n2025-11-21 03:46:16.023\n";

    private static Row read(PackedRecordSchema schema, byte[] value, RecordHeaders headers) throws Exception {
        return read(schema, null, value, headers);
    }

    private static Row read(PackedRecordSchema schema, byte[] key, byte[] value, RecordHeaders headers) throws Exception {
        List<Row> rows = Reading.read(schema, 7L, key, value, headers);
        assertEquals(1, rows.size());
        return rows.get(0);
    }

    private static String line(Row row) {
        return new String((byte[]) row.getField(1), StandardCharsets.ISO_8859_1);
    }

    private static Row read(byte[] value) throws Exception {
        return read(new PackedRecordSchema(true, false, 30, 4), value, new RecordHeaders());
    }

    @Test
    void packsCoordinatesKeyAndPayload() throws Exception {
        Row row = read("{\"customer_id\":\"c-1\"}".getBytes(StandardCharsets.UTF_8));
        assertEquals("c-1", row.getField(0));
        assertEquals(HEAD + "\nc-1\nV{\"customer_id\":\"c-1\"}", line(row));
    }

    @Test
    void recordsWithoutAnIdAreRoutedByTheirOffset() throws Exception {
        assertEquals(HEAD + "\nunroutable-7\nN", line(read(null)));
        assertEquals(HEAD + "\nunroutable-7\nV", line(read(new byte[0])));
        Row row = read(new byte[] {(byte) 0xff, '\n'});
        assertEquals("unroutable-7", row.getField(0));
        assertEquals(HEAD + "\nunroutable-7\nV\u00ff\n", line(row));
    }

    @Test
    void anAvroRecordIsRoutedByItsMessageKey() throws Exception {
        PackedRecordSchema schema = new PackedRecordSchema(true, false, 30, 4);
        byte[] avro = {0, 0, 0, 0, 7, '\n', (byte) 0xff};
        Row row = read(schema, "Zo\u00eb\n1".getBytes(StandardCharsets.UTF_8), avro, new RecordHeaders());
        assertEquals("Zo\u00eb 1", row.getField(0));
        assertEquals(HEAD + "\nZo\u00c3\u00ab 1\nV\0\0\0\0\u0007\n\u00ff", line(row));
        assertEquals("unroutable-7", read(avro).getField(0));
        byte[] json = "{\"customer_id\":\"c-1\"}".getBytes(StandardCharsets.UTF_8);
        assertEquals("c-1", read(schema, "c-2".getBytes(StandardCharsets.UTF_8), json, new RecordHeaders()).getField(0));
        byte[] large = new byte[31];
        assertEquals("unroutable-7", read(schema, new byte[] {'c'}, large, new RecordHeaders()).getField(0));
    }

    @Test
    void aLineFeedInAnIdCannotEndTheKey() throws Exception {
        Row row = read("{\"customer_id\":\"c\\n1\"}".getBytes(StandardCharsets.UTF_8));
        assertEquals("c 1", row.getField(0));
        assertEquals(HEAD + "\nc 1\nV{\"customer_id\":\"c\\n1\"}", line(row));
    }

    @Test
    void aLargePayloadIsCut() throws Exception {
        byte[] large = "{\"customer_id\":\"c-1\",\"filler\":1}".getBytes(StandardCharsets.UTF_8);
        Row row = read(large);
        assertEquals("unroutable-7", row.getField(0));
        String[] fields = line(row).split("\n", 8);
        assertEquals("L32", fields[5]);
        assertEquals(64, fields[6].length());
        assertEquals("{\"cu", fields[7]);
        byte[] limit = "{\"customer_id\":\"c-1\",\"fill\":1}".getBytes(StandardCharsets.UTF_8);
        assertEquals(30, limit.length);
        assertEquals("c-1", read(limit).getField(0));
    }

    @Test
    void headersAreJsonWithBase64Values() throws Exception {
        RecordHeaders headers = new RecordHeaders();
        headers.add("a\"\n", new byte[] {'x'});
        headers.add("twice", new byte[] {1});
        headers.add("twice", null);
        Row row = read(new PackedRecordSchema(true, false, 30, 4), new byte[0], headers);
        assertEquals(HEAD + "{\"a\\\"\\n\":\"eA==\",\"twice\":null}\nunroutable-7\nV", line(row));
    }

    @Test
    void controlRecordsAreWholeTextsWithoutAKey() throws Exception {
        byte[] bytes = new byte[64];
        bytes[0] = (byte) 0xe9;
        Row row = read(new PackedRecordSchema(false, false, 30, 4), bytes, new RecordHeaders());
        assertEquals(1, row.getArity());
        assertEquals(HEAD + "\n\nV\u00e9" + "\0".repeat(63), row.getField(0));
    }

    @Test
    void rowsOfMerchantsAreControlRecordsWithASmallFlag() throws Exception {
        Row row = read(new PackedRecordSchema(false, true, 30, 4), new byte[] {'{'}, new RecordHeaders());
        assertEquals(HEAD + "\n\nv{", row.getField(0));
    }

    @Test
    void aRowOfAMerchantSaysInItsKeyWhoseItIsAndAControlMessageDoesNot() throws Exception {
        byte[] key = "card\u001fK\u00fc\n1".getBytes(StandardCharsets.UTF_8);
        assertEquals(HEAD + "\ncard\u001fK\u00fc 1\nv{", keyed(true, key));
        assertEquals(HEAD + "\n\nV{", keyed(false, key));
    }

    private static Object keyed(boolean isMarked, byte[] key) throws Exception {
        PackedRecordSchema schema = new PackedRecordSchema(false, isMarked, 30, 4);
        return read(schema, key, new byte[] {'{'}, new RecordHeaders()).getField(0);
    }
}
