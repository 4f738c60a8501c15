package io.streamflow.crossing;

import java.util.HashMap;
import java.util.Map;

/**
 * States that Python has encoded and that are not in the backend yet. The operator writes all of them before each barrier,
 * so every checkpoint holds them.
 */
final class GatheredWrites {
    /** Writes one state to the backend. */
    @FunctionalInterface
    interface Writer {
        void write(String key, byte[] state) throws Exception;
    }

    private final Map<String, byte[]> states = new HashMap<>();
    private final long bytesLimit;
    private long bytes;

    GatheredWrites(long bytesLimit) {
        this.bytesLimit = bytesLimit;
    }

    byte[] get(String key) {
        return states.get(key);
    }

    void put(String key, byte[] state) {
        byte[] replaced = states.put(key, state);
        bytes += state.length - (replaced == null ? 0 : replaced.length);
    }

    /** Whether the memory bound is reached: the operator then writes without waiting for the barrier. */
    boolean isFull() {
        return bytes > bytesLimit;
    }

    void writeAll(Writer writer) throws Exception {
        for (Map.Entry<String, byte[]> entry : states.entrySet()) {
            writer.write(entry.getKey(), entry.getValue());
        }
        states.clear();
        bytes = 0;
    }
}
