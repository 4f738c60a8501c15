package io.streamflow.crossing;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * The records of one crossing into Python, and the buffer in which they cross.
 *
 * <p>The buffer is little-endian: number of records; for each record the length of the record and of its state; then for
 * each record its bytes and its state. The length of a state is -1 where none is sent, and 0 for a customer without one.
 * {@code flink_jobs/core/batches.py} reads it.
 */
final class Batch {
    private static final byte[] NO_STATE = new byte[0];

    private final String[] keys;
    private final byte[][] records;
    private final byte[][] states;
    private final long[] timestamps;
    private final boolean[] hasTimestamp;
    private int size;
    private int bytes;

    Batch(int capacity) {
        keys = new String[capacity];
        records = new byte[capacity][];
        states = new byte[capacity][];
        timestamps = new long[capacity];
        hasTimestamp = new boolean[capacity];
    }

    int size() {
        return size;
    }

    boolean isFull() {
        return size == keys.length;
    }

    String key(int index) {
        return keys[index];
    }

    boolean hasTimestamp(int index) {
        return hasTimestamp[index];
    }

    long timestamp(int index) {
        return timestamps[index];
    }

    /** Adds a record without a state: Python has the state of this customer, or asks for it. */
    void add(String key, byte[] record, boolean isTimed, long timestamp) {
        keys[size] = key;
        records[size] = record;
        states[size] = null;
        hasTimestamp[size] = isTimed;
        timestamps[size] = timestamp;
        bytes += record.length;
        size++;
    }

    /** Sends the stored state, or its absence, with the last record. */
    void sendState(byte[] stored) {
        byte[] sent = stored == null ? NO_STATE : stored;
        states[size - 1] = sent;
        bytes += sent.length;
    }

    byte[] pack() {
        ByteBuffer buffer = ByteBuffer.allocate(4 + 8 * size + bytes).order(ByteOrder.LITTLE_ENDIAN);
        buffer.putInt(size);
        for (int i = 0; i < size; i++) {
            buffer.putInt(records[i].length).putInt(states[i] == null ? -1 : states[i].length);
        }
        for (int i = 0; i < size; i++) {
            buffer.put(records[i]);
            if (states[i] != null) {
                buffer.put(states[i]);
            }
        }
        return buffer.array();
    }

    void clear() {
        Arrays.fill(keys, 0, size, null);
        Arrays.fill(records, 0, size, null);
        Arrays.fill(states, 0, size, null);
        size = 0;
        bytes = 0;
    }
}
