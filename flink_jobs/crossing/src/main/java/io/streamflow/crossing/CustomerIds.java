package io.streamflow.crossing;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;

/**
 * Finds the customer id of a JSON document: the string at {@code $.customer_id}, the last one if it is there twice.
 *
 * <p>One pass over the bytes finds plain ids. A document with an escape in the id or in a name of the first level goes to a
 * JSON parser. The scan does not check the document: the evaluator rejects a record that is no JSON, whatever its key.
 */
final class CustomerIds {
    private static final byte[] NAME = "customer_id".getBytes(StandardCharsets.US_ASCII);
    private static final ObjectMapper PARSER = new ObjectMapper();

    private CustomerIds() {}

    /** Returns the id, or null for a document without one. */
    static String find(byte[] json) {
        String found = null;
        int depth = 0;
        for (int i = 0; i < json.length; i++) {
            byte c = json[i];
            if (c == '{' || c == '[') {
                depth++;
            } else if (c == '}' || c == ']') {
                depth--;
            } else if (c == '"') {
                int end = endOfString(json, i + 1);
                if (end < 0) {
                    return found;
                }
                if (depth == 1) {
                    int colon = skipSpace(json, end + 1);
                    if (colon < json.length && json[colon] == ':') {
                        if (isEscaped(json, i + 1, end)) {
                            return parse(json);
                        }
                        if (Arrays.equals(json, i + 1, end, NAME, 0, NAME.length)) {
                            int value = skipSpace(json, colon + 1);
                            if (value >= json.length || json[value] != '"') {
                                found = null;
                                i = colon;
                                continue;
                            }
                            end = endOfString(json, value + 1);
                            if (end < 0) {
                                return null;
                            }
                            if (isEscaped(json, value + 1, end)) {
                                return parse(json);
                            }
                            found = new String(json, value + 1, end - value - 1, StandardCharsets.UTF_8);
                        }
                    }
                }
                i = end;
            }
        }
        return found;
    }

    private static String parse(byte[] json) {
        try {
            JsonNode id = PARSER.readTree(new String(json, StandardCharsets.UTF_8)).get("customer_id");
            return id == null || !id.isTextual() ? null : id.textValue();
        } catch (JsonProcessingException invalid) {
            return null;
        }
    }

    /** Returns the place of the quote that ends a string, or -1. */
    private static int endOfString(byte[] json, int from) {
        int i = from;
        while (i < json.length && json[i] != '"') {
            i += json[i] == '\\' ? 2 : 1;
        }
        return i < json.length ? i : -1;
    }

    private static boolean isEscaped(byte[] json, int from, int to) {
        for (int i = from; i < to; i++) {
            if (json[i] == '\\') {
                return true;
            }
        }
        return false;
    }

    private static int skipSpace(byte[] json, int from) {
        int i = from;
        while (i < json.length && (json[i] == ' ' || json[i] == '\t' || json[i] == '\n' || json[i] == '\r')) {
            i++;
        }
        return i;
    }
}
