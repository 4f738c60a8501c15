package io.streamflow.crossing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.List;
import java.util.Map;

import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.state.KeyedStateBackend;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.streaming.api.typeinfo.python.PickledByteArrayTypeInfo;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.Test;

/** The batched operator against PyFlink's, with the real Python function. Transactions, faults and control messages mixed. */
class BatchedDetectorOperatorTest {
    private static final int MANY = 10_000;
    private static final long DAY_MS = 86_400_000L;

    private static List<Detector.Input> inputs() throws Exception {
        return Detector.inputs("inputs.bin");
    }

    private static List<Detector.Input> transactions() throws Exception {
        return Detector.inputs("transactions.bin");
    }

    private static int decided(Detector detector) {
        return detector.outputs().get("decisions").size();
    }

    @Test
    void outputsAreThoseOfTheSingleOperatorAndSnapshotsRestoreInBoth() throws Exception {
        List<Detector.Input> inputs = inputs();
        int half = inputs.size() / 2;
        Map<String, List<String>> first = new HashMap<>();
        Map<String, List<String>> second;
        OperatorSubtaskState bySingle;
        try (Detector single = Detector.single(null)) {
            single.send(inputs.subList(0, half));
            bySingle = single.snapshot(1);
            first.putAll(single.outputs());
            single.send(inputs.subList(half, inputs.size()));
            second = single.outputs();
        }
        List.of("decisions", "alerts", "replies", "dead-letters", "audit")
                .forEach(tag -> assertTrue(!first.get(tag).isEmpty(), tag));
        OperatorSubtaskState byBatched = null;
        for (int[] sizes : new int[][] {{7, 100}, {64, 100}, {256, 3}, {256, 0}}) {
            try (Detector batched = Detector.batched(sizes[0], sizes[1], null)) {
                batched.send(inputs.subList(0, half));
                byBatched = batched.snapshot(1);
                assertSame(first, batched.outputs());
            }
        }
        for (OperatorSubtaskState snapshot : List.of(bySingle, byBatched)) {
            try (Detector batched = Detector.batched(64, 100, snapshot)) {
                resume(batched, inputs, half, second);
            }
        }
        try (Detector single = Detector.single(byBatched)) {
            resume(single, inputs, half, second);
        }
    }

    private static void assertSame(Map<String, List<String>> expected, Map<String, List<String>> found) {
        expected.forEach((tag, lines) -> {
            List<String> others = found.get(tag);
            for (int i = 0; i < Math.min(lines.size(), others.size()); i++) {
                assertEquals(lines.get(i), others.get(i), tag + " " + i);
            }
            assertEquals(lines.size(), others.size(), tag);
        });
    }

    private static void resume(
            Detector detector, List<Detector.Input> inputs, int half, Map<String, List<String>> expected) throws Exception {
        detector.skip(half);
        detector.send(inputs.subList(half, inputs.size()));
        detector.snapshot(2);
        assertSame(expected, detector.outputs());
    }

    @Test
    void aBatchEndsWhenItIsFullOrOld() throws Exception {
        List<Detector.Input> some = transactions();
        try (Detector batched = Detector.batched(4, 100, null)) {
            batched.send(some.subList(0, 3));
            assertEquals(0, decided(batched));
            batched.send(some.subList(3, 4));
            assertEquals(4, decided(batched));
            batched.harness.setProcessingTime(3);
            batched.send(some.subList(4, 6));
            batched.harness.setProcessingTime(7); // the timer of the first batch; this one has 1 ms left
            assertEquals(0, decided(batched));
            batched.harness.setProcessingTime(8);
            assertEquals(2, decided(batched));
        }
    }

    @Test
    void aBatchEndsBeforeEverythingThatMustSeeIt() throws Exception {
        List<Detector.Input> some = transactions();
        try (Detector batched = Detector.batched(MANY, 100, null)) {
            batched.send(some.subList(0, 1));
            batched.harness.processWatermark1(new Watermark(1));
            batched.harness.processWatermark2(new Watermark(1));
            assertEquals(1, decided(batched));
            batched.send(some.subList(1, 2));
            batched.harness.prepareSnapshotPreBarrier(1);
            assertEquals(1, decided(batched));
            batched.send(some.subList(2, 3));
            batched.harness.endInput1();
            assertEquals(1, decided(batched));
        }
    }

    @Test
    void recordsBeforeAControlMessageAreScoredUnderTheConfigurationBeforeIt() throws Exception {
        List<Detector.Input> some = transactions();
        Detector.Input message = inputs().stream().filter(input -> input.key() == null).findFirst().orElseThrow();
        try (Detector batched = Detector.batched(MANY, 100, null)) {
            batched.send(some.subList(0, 1));
            batched.send(List.of(message));
            batched.send(some.subList(1, 2));
            batched.harness.prepareSnapshotPreBarrier(1);
            List<String> decisions = batched.outputs().get("decisions");
            assertTrue(decisions.get(0).contains("\"config_revision\":0"), decisions.get(0));
            assertTrue(decisions.get(1).contains("\"config_revision\":1"), decisions.get(1));
        }
    }

    @Test
    void countsReachTheMetricsWithoutFurtherRecords() throws Exception {
        try (Detector batched = Detector.batched(MANY, 100, null)) {
            batched.send(transactions().subList(0, 3));
            batched.harness.setProcessingTime(Detector.DELAY_MS);
            assertEquals(3, decided(batched));
            batched.harness.setProcessingTime(Detector.DELAY_MS + BatchedDetectorOperator.METRICS_DELAY_MS);
        }
    }

    @Test
    void anExpiredStateIsNotUsed() throws Exception {
        List<Detector.Input> some = transactions();
        Map<String, List<String>> expected;
        try (Detector single = Detector.singleWithoutCache()) {
            expected = withExpiry(single, some);
        }
        try (Detector batched = Detector.batched(64, 0, null)) {
            assertSame(expected, withExpiry(batched, some));
        }
    }

    private static Map<String, List<String>> withExpiry(Detector detector, List<Detector.Input> some) throws Exception {
        detector.harness.setStateTtlProcessingTime(0);
        detector.send(some.subList(0, 100));
        detector.snapshot(1);
        detector.harness.setStateTtlProcessingTime(91 * DAY_MS);
        detector.send(some.subList(100, 200));
        detector.snapshot(2);
        return detector.outputs();
    }

    @Test
    void aFailureNamesTheRecord() throws Exception {
        List<Detector.Input> some = transactions();
        Detector batched = Detector.batched(MANY, 100, null);
        damage(batched, some.get(2).key());
        batched.send(some.subList(0, 3));
        Exception error = assertThrows(Exception.class, () -> batched.harness.prepareSnapshotPreBarrier(1));
        assertTrue(error.getMessage().contains("streamflow.transactions, partition 0, offset 2"), error.getMessage());
        assertEquals(0, decided(batched));
        batched.operator().close(); // the harness would end the input first; a failed task does not
    }

    @SuppressWarnings("unchecked")
    private static void damage(Detector detector, String key) throws Exception {
        KeyedStateBackend<Object> backend = (KeyedStateBackend<Object>) (KeyedStateBackend<?>) detector.operator().getKeyedStateBackend();
        ValueState<byte[]> state = backend.getPartitionedState(
                VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE,
                new ValueStateDescriptor<>("customer-fraud-state", PickledByteArrayTypeInfo.PICKLED_BYTE_ARRAY_TYPE_INFO));
        backend.setCurrentKey(Row.of(key));
        state.update(new byte[] {'x'});
    }
}
