package io.streamflow.crossing;

import java.util.HashSet;
import java.util.Map;
import java.util.Set;

import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ReadOnlyBroadcastState;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.state.KeyedStateBackend;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.streaming.api.functions.python.DataStreamPythonFunctionInfo;
import org.apache.flink.streaming.api.operators.python.embedded.AbstractEmbeddedDataStreamPythonFunctionOperator;
import org.apache.flink.streaming.api.operators.python.embedded.EmbeddedPythonKeyedCoProcessOperator;
import org.apache.flink.streaming.api.typeinfo.python.PickledByteArrayTypeInfo;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.runtime.tasks.ProcessingTimeService;
import org.apache.flink.types.Row;
import org.apache.flink.util.OutputTag;

/**
 * PyFlink's thread-mode operator for keyed broadcast functions, which hands keyed records to Python in batches.
 *
 * <p>The Python environment, the broadcast input, timers, metrics and the life cycle are PyFlink's. Only the keyed input
 * differs: one call per batch carries one byte array each way, and Java reads and writes the keyed state. Python keeps the
 * newest states of recent customers decoded; Java writes them before each barrier. A batch ends when it is full or old, and
 * before everything that must see its outputs or its state: a control message, a watermark, a barrier, the end of an input
 * (ADR 27).
 */
public final class BatchedDetectorOperator extends EmbeddedPythonKeyedCoProcessOperator<Row, Row, Row, String> {
    private static final long serialVersionUID = 1L;
    /** Memory for states that wait for the barrier. */
    static final long GATHERED_BYTES = 16L << 20;
    /** Counts of the metrics wait at most this long in Python when no record follows. */
    static final long METRICS_DELAY_MS = 500;

    private final Plan plan;

    private transient KeyedStateBackend<Object> backend;
    private transient ValueState<byte[]> state;
    private transient OutputTag<String>[] tags;
    private transient Batch batch;
    private transient Set<String> inBatch;
    private transient RecentKeys recent;
    private transient GatheredWrites writes;
    private transient StreamRecord<String> reuse;
    private transient long batchEndsAt;
    private transient boolean isBatchTimed;
    private transient boolean isMetricsTimed;

    public BatchedDetectorOperator(
            Configuration config,
            DataStreamPythonFunctionInfo function,
            TypeInformation<Row> records,
            TypeInformation<Row> control,
            Plan plan) {
        super(config, function, records, control, Types.STRING);
        this.plan = plan;
    }

    @Override
    @SuppressWarnings("unchecked")
    public void open() throws Exception {
        batch = new Batch(plan.batchRecords);
        inBatch = new HashSet<>();
        recent = new RecentKeys(plan.decodedStates);
        writes = new GatheredWrites(GATHERED_BYTES);
        reuse = new StreamRecord<>(null);
        tags = new OutputTag[plan.sideOutputs.length];
        for (OutputTag<?> tag : getSideOutputTags()) {
            for (int i = 0; i < tags.length; i++) {
                if (plan.sideOutputs[i].equals(tag.getId())) {
                    tags[i] = (OutputTag<String>) tag;
                }
            }
        }
        for (int i = 0; i < tags.length; i++) {
            if (tags[i] == null) {
                throw new IllegalStateException("no sink reads the output " + plan.sideOutputs[i]);
            }
        }
        super.open();
        backend = (KeyedStateBackend<Object>) (KeyedStateBackend<?>) getKeyedStateBackend();
        // Python's `open` has created this state with its serializer and time to live; the backend returns the same object.
        state = backend.getPartitionedState(
                VoidNamespace.INSTANCE,
                VoidNamespaceSerializer.INSTANCE,
                new ValueStateDescriptor<>(plan.stateName, PickledByteArrayTypeInfo.PICKLED_BYTE_ARRAY_TYPE_INFO));
        ReadOnlyBroadcastState<String, String> configuration = getOperatorStateBackend()
                .getBroadcastState(new MapStateDescriptor<>(plan.configState, Types.STRING, Types.STRING));
        interpreter.invokeMethod("batch_runner", "restore", configuration.get(plan.configKey));
        if (!plan.merchantState.isEmpty()) {
            ReadOnlyBroadcastState<String, String> merchants = getOperatorStateBackend()
                    .getBroadcastState(new MapStateDescriptor<>(plan.merchantState, Types.STRING, Types.STRING));
            for (Map.Entry<String, String> row : merchants.immutableEntries()) {
                interpreter.invokeMethod("batch_runner", "restore_merchant", row.getValue());
            }
        }
    }

    @Override
    public void openPythonInterpreter() {
        super.openPythonInterpreter();
        interpreter.set("_states", new StoredStates());
        interpreter.exec("from " + plan.runnerModule + " import take_runner\n"
                + "batch_runner = take_runner(_states, " + JobParts.PROTOCOL + ")");
    }

    @Override
    public <T> AbstractEmbeddedDataStreamPythonFunctionOperator<T> copy(
            DataStreamPythonFunctionInfo function, TypeInformation<T> outputType) {
        throw new UnsupportedOperationException("a Python function cannot be chained into the batched detector");
    }

    /** Python's way to a state that was not sent, because Java took it for known to Python. */
    public final class StoredStates {
        public byte[] read(int index) throws Exception {
            return stored(batch.key(index));
        }
    }

    private byte[] stored(String key) throws Exception {
        byte[] found = writes.get(key);
        if (found != null) {
            return found;
        }
        backend.setCurrentKey(Row.of(key));
        return state.value();
    }

    /** Flink would set the key for each record; this operator sets it where it reads or writes a state. */
    @Override
    @SuppressWarnings("rawtypes")
    public void setKeyContextElement1(StreamRecord record) {}

    @Override
    public void processElement1(StreamRecord<Row> element) throws Exception {
        Row row = element.getValue();
        String key = (String) row.getField(0);
        boolean isTimed = element.hasTimestamp();
        batch.add(key, (byte[]) row.getField(1), isTimed, isTimed ? element.getTimestamp() : 0L);
        // A record without a customer id has no state; a customer with such an id has one, and Python asks for it.
        if (!key.startsWith(PackedRecordSchema.UNROUTABLE) && inBatch.add(key) && !recent.has(key)) {
            batch.sendState(stored(key));
        }
        if (batch.isFull()) {
            crossOver();
        } else if (batch.size() == 1) {
            ProcessingTimeService clock = getProcessingTimeService();
            batchEndsAt = clock.getCurrentProcessingTime() + plan.batchDelayMs;
            if (!isBatchTimed) {
                isBatchTimed = true;
                clock.registerTimer(batchEndsAt, this::onBatchTimer);
            }
        }
    }

    /** One timer at a time: a batch that began after the timer was set gets the rest of its own time. */
    private void onBatchTimer(long now) throws Exception {
        isBatchTimed = false;
        if (batch.size() == 0) {
            return;
        }
        if (now < batchEndsAt) {
            isBatchTimed = true;
            getProcessingTimeService().registerTimer(batchEndsAt, this::onBatchTimer);
        } else {
            crossOver();
        }
    }

    private void onMetricsTimer(long now) {
        isMetricsTimed = false;
        interpreter.invokeMethod("batch_runner", "flush_metrics", now);
    }

    /** Hands the batch to Python; then takes over the states and emits the outputs. */
    private void crossOver() throws Exception {
        if (batch.size() == 0) {
            return;
        }
        Answer answer = new Answer((byte[]) interpreter.invokeMethod("batch_runner", "process", batch.pack()));
        if (answer.records != batch.size()) {
            throw new IllegalStateException(
                    "Python answered " + answer.records + " records, the batch has " + batch.size());
        }
        gather(answer);
        int decoded = 0;
        for (int i = 0; i <= answer.forgotten; i++) {
            int forgotten = i < answer.forgotten ? answer.number() : answer.records;
            for (; decoded < forgotten; decoded++) {
                recent.add(batch.key(decoded));
            }
            if (decoded < answer.records) {
                recent.remove(batch.key(decoded++));
            }
        }
        if (writes.isFull()) {
            writeStates();
        }
        for (int i = 0; i < answer.outputs; i++) {
            int index = answer.number();
            int tag = answer.number();
            reuse.replace(answer.text(answer.number()));
            if (batch.hasTimestamp(index)) {
                reuse.setTimestamp(batch.timestamp(index));
            } else {
                reuse.eraseTimestamp();
            }
            if (tag == 0) {
                output.collect(reuse);
            } else {
                output.collect(tags[tag - 1], reuse);
            }
        }
        batch.clear();
        inBatch.clear();
        if (!isMetricsTimed) {
            isMetricsTimed = true;
            ProcessingTimeService clock = getProcessingTimeService();
            clock.registerTimer(clock.getCurrentProcessingTime() + METRICS_DELAY_MS, this::onMetricsTimer);
        }
    }

    private void gather(Answer answer) {
        for (int i = 0; i < answer.states; i++) {
            int length = answer.number();
            int size = answer.number();
            writes.put(answer.text(length), answer.bytes(size));
        }
    }

    /** Writes every state to the backend: those that Java gathered, and those that only Python's cache has. */
    private void writeAllStates() throws Exception {
        gather(new Answer((byte[]) interpreter.invokeMethod("batch_runner", "unsaved")));
        writeStates();
    }

    private void writeStates() throws Exception {
        writes.writeAll((key, value) -> {
            backend.setCurrentKey(Row.of(key));
            state.update(value);
        });
    }

    @Override
    public void processElement2(StreamRecord<Row> element) throws Exception {
        if (!isMarked((String) element.getValue().getField(0))) {
            crossOver(); // records before a control message are scored under the configuration before it
        }
        super.processElement2(element);
    }

    /** Whether a packed record is the row of a merchant: its flag, after five fields, is a small letter. */
    private static boolean isMarked(String packed) {
        int flag = 0;
        for (int fields = 0; fields < 5; fields++) {
            flag = packed.indexOf('\n', flag) + 1;
        }
        return Character.isLowerCase(packed.charAt(flag));
    }

    @Override
    public void processWatermark(Watermark mark) throws Exception {
        crossOver(); // no output may follow a watermark that is later than it
        super.processWatermark(mark);
    }

    @Override
    public void prepareSnapshotPreBarrier(long checkpointId) throws Exception {
        crossOver();
        writeAllStates();
        super.prepareSnapshotPreBarrier(checkpointId);
    }

    @Override
    public void endInput(int inputId) throws Exception {
        crossOver();
        super.endInput(inputId);
    }

    @Override
    public void finish() throws Exception {
        crossOver();
        writeAllStates();
        super.finish();
    }
}
