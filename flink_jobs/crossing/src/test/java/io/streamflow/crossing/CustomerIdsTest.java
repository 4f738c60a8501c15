package io.streamflow.crossing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.nio.charset.StandardCharsets;

import org.junit.jupiter.api.Test;

class CustomerIdsTest {
    private static String find(String json) {
        return CustomerIds.find(json.getBytes(StandardCharsets.UTF_8));
    }

    @Test
    void findsTheIdAnywhereOnTheFirstLevel() {
        assertEquals("c-1", find("{\"customer_id\":\"c-1\"}"));
        assertEquals("c-1", find(" { \"a\" : [ {\"customer_id\":\"no\"} ] ,\n \"customer_id\"\t:\r\n \"c-1\" , \"b\" : \"}\" } "));
        assertEquals("K\u00fcnde \ud83d\ude00", find("{\"customer_id\":\"K\u00fcnde \ud83d\ude00\"}"));
        assertEquals("", find("{\"customer_id\":\"\"}"));
    }

    @Test
    void aNameInAValueIsNoName() {
        assertEquals("c-1", find("{\"note\":\"customer_id\",\"customer_id\":\"c-1\"}"));
        assertEquals("c-1", find("{\"note\":\"\\\"customer_id\\\":\\\"no\\\"\",\"customer_id\":\"c-1\"}"));
        assertNull(find("{\"inner\":{\"customer_id\":\"no\"}}"));
        assertNull(find("[{\"customer_id\":\"no\"}]"));
    }

    @Test
    void escapesAreReadByAParser() {
        assertEquals("c\"1", find("{\"customer_id\":\"c\\\"1\"}"));
        assertEquals("c\n1", find("{\"customer_id\":\"c\\n1\"}"));
        assertEquals("c-1", find("{\"customer\\u005fid\":\"c-1\"}"));
        assertEquals("c-1", find("{\"place\":\"Z\\u00fcrich \\\\\",\"customer_id\":\"c-1\"}"));
    }

    @Test
    void ofTwoIdsTheLastCounts() {
        assertEquals("b", find("{\"customer_id\":\"a\",\"customer_id\":\"b\"}"));
        assertNull(find("{\"customer_id\":\"a\",\"customer_id\":7}"));
    }

    @Test
    void documentsWithoutAnIdHaveNone() {
        for (String json : new String[] {"", "{", "null", "{\"customer_id\"", "{\"customer_id\":", "{\"customer_id\":\"x", "\\",
            "{\"customer_id\":1}", "{\"customer_id\":null}", "{\"customer_id\":[\"x\"]}", "\"customer_id\"", "]]]]", "{\"a\\\":"}) {
            assertNull(find(json), json);
        }
    }
}
