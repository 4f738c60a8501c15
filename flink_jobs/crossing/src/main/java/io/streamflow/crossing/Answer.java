package io.streamflow.crossing;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Python's answer to a batch, little-endian: number of records, of states, of forgotten records and of outputs; for each
 * state the lengths of its customer id and of itself; the index of each forgotten record; for each output the index of its
 * record, its tag and its length; then the bytes: each customer id with its state, and the outputs.
 * {@code flink_jobs/core/batches.py} writes it. The parts must be read in this order.
 */
final class Answer {
    private final ByteBuffer numbers;
    private final byte[] bytes;
    private int at;
    final int records;
    final int states;
    final int forgotten;
    final int outputs;

    Answer(byte[] answer) {
        bytes = answer;
        numbers = ByteBuffer.wrap(answer).order(ByteOrder.LITTLE_ENDIAN);
        records = number();
        states = number();
        forgotten = number();
        outputs = number();
        at = 16 + 8 * states + 4 * forgotten + 12 * outputs;
    }

    int number() {
        return numbers.getInt();
    }

    byte[] bytes(int length) {
        byte[] value = Arrays.copyOfRange(bytes, at, at + length);
        at += length;
        return value;
    }

    String text(int length) {
        String value = new String(bytes, at, length, StandardCharsets.UTF_8);
        at += length;
        return value;
    }
}
