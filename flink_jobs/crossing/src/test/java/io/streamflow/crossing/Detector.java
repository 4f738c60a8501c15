package io.streamflow.crossing;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;

import org.apache.flink.api.common.serialization.SerializerConfigImpl;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.state.storage.JobManagerCheckpointStorage;
import org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackend;
import org.apache.flink.streaming.api.functions.python.DataStreamPythonFunction;
import org.apache.flink.streaming.api.functions.python.DataStreamPythonFunctionInfo;
import org.apache.flink.streaming.api.functions.python.KeyByKeySelector;
import org.apache.flink.streaming.api.operators.python.embedded.EmbeddedPythonKeyedCoProcessOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.util.KeyedTwoInputStreamOperatorTestHarness;
import org.apache.flink.table.functions.python.PythonEnv;
import org.apache.flink.types.Row;
import org.apache.flink.util.OutputTag;

/** One of the two operators over the real Python function, in Flink's test harness with RocksDB. */
final class Detector implements AutoCloseable {
    private static final Path INPUT = Path.of(System.getProperty("streamflow.input"));
    private static final List<String> TAGS = List.of(System.getProperty("streamflow.sideOutputs").split(","));
    static final long DELAY_MS = 5;

    /** A record: its key and its packed bytes; or a control message, which has no key. */
    record Input(String key, byte[] line) {}

    final KeyedTwoInputStreamOperatorTestHarness<Row, Row, Row, String> harness;
    private final boolean isBatched;
    private final EmbeddedPythonKeyedCoProcessOperator<Row, Row, Row, String> operator;
    private int at;

    private Detector(boolean isBatched, int batchRecords, int decodedStates, OperatorSubtaskState restored) throws Exception {
        this.isBatched = isBatched;
        String python = System.getProperty("streamflow.python");
        Configuration config = new Configuration();
        config.setString("python.executable", python);
        config.setString("python.client.executable", python);
        config.setString("python.execution-mode", "thread");
        String pickle = decodedStates == 0 ? "function-without-cache.pickle" : "function.pickle";
        DataStreamPythonFunctionInfo function = new DataStreamPythonFunctionInfo(
                new DataStreamPythonFunction(
                        Files.readAllBytes(INPUT.resolve(pickle)), new PythonEnv(PythonEnv.ExecType.PROCESS)),
                Integer.getInteger("streamflow.functionType"));
        TypeInformation<Row> control = Types.ROW(Types.STRING);
        Plan plan = new Plan("customer-fraud-state", "detection-config", "current", "merchant-risk-rows", "flink_jobs.job.detector.batch_runner",
                TAGS, batchRecords, DELAY_MS, decodedStates);
        operator = isBatched
                ? new BatchedDetectorOperator(
                        config, function, Types.ROW(Types.STRING, Types.PRIMITIVE_ARRAY(Types.BYTE)), control, plan)
                : new EmbeddedPythonKeyedCoProcessOperator<>(
                        config, function, Types.ROW(Types.STRING, Types.STRING), control, Types.STRING);
        List<OutputTag<?>> tags = new ArrayList<>();
        for (String tag : TAGS) {
            tags.add(new OutputTag<>(tag, Types.STRING));
        }
        operator.addSideOutputTags(tags);
        harness = new KeyedTwoInputStreamOperatorTestHarness<>(
                operator, new KeyByKeySelector(), null, Types.ROW(Types.STRING), 128, 1, 0);
        Configuration memory = new Configuration();
        memory.setString("state.backend.rocksdb.memory.managed", "false");
        harness.setStateBackend(new EmbeddedRocksDBStateBackend(true).configure(memory, Detector.class.getClassLoader()));
        harness.setCheckpointStorage(new JobManagerCheckpointStorage(1 << 29));
        harness.setup(Types.STRING.createSerializer(new SerializerConfigImpl()));
        if (restored != null) {
            harness.initializeState(restored);
        }
        harness.open();
    }

    static Detector single(OperatorSubtaskState restored) throws Exception {
        return new Detector(false, 0, 100, restored);
    }

    static Detector singleWithoutCache() throws Exception {
        return new Detector(false, 0, 0, null);
    }

    static Detector batched(int records, int decodedStates, OperatorSubtaskState restored) throws Exception {
        return new Detector(true, records, decodedStates, restored);
    }

    static List<Input> inputs(String name) throws IOException {
        List<Input> inputs = new ArrayList<>();
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(Files.newInputStream(INPUT.resolve(name))))) {
            while (true) {
                byte[] key = in.readNBytes(in.readInt());
                byte[] line = in.readNBytes(in.readInt());
                inputs.add(new Input(key.length == 0 ? null : new String(key, StandardCharsets.UTF_8), line));
            }
        } catch (EOFException end) {
            return inputs;
        }
    }

    /** Gives the following records the timestamps that they have in an undisturbed run. */
    void skip(int records) {
        at += records;
    }

    void send(List<Input> inputs) throws Exception {
        for (Input input : inputs) {
            String text = text(input.line);
            long timestamp = 1000L + at++;
            if (input.key == null) {
                harness.processElement2(new StreamRecord<>(Row.of(text), timestamp));
            } else {
                harness.processElement1(new StreamRecord<>(Row.of(input.key, isBatched ? input.line : text), timestamp));
            }
        }
    }

    /** The record as the SQL source packs it: five fields of text, then the payload as ISO 8859-1. */
    private static String text(byte[] line) {
        int at = 0;
        for (int fields = 0; fields < 5; at++) {
            fields += line[at] == '\n' ? 1 : 0;
        }
        return new String(line, 0, at, StandardCharsets.UTF_8)
                + new String(line, at, line.length - at, StandardCharsets.ISO_8859_1);
    }

    EmbeddedPythonKeyedCoProcessOperator<Row, Row, Row, String> operator() {
        return operator;
    }

    OperatorSubtaskState snapshot(long id) throws Exception {
        harness.prepareSnapshotPreBarrier(id);
        return harness.snapshot(id, id);
    }

    /**
     * Removes and returns the outputs so far by their tag, without the fields that hold the clock. Decisions come with their
     * timestamp; PyFlink's side outputs have none.
     */
    Map<String, List<String>> outputs() {
        Map<String, List<String>> outputs = new LinkedHashMap<>();
        List<String> main = new ArrayList<>();
        for (Object item : harness.getOutput()) {
            if (item instanceof StreamRecord<?> record) {
                main.add(record.getTimestamp() + " " + withoutClock((String) record.getValue()));
            }
        }
        harness.getOutput().clear();
        outputs.put("decisions", main);
        for (String tag : TAGS) {
            List<String> lines = new ArrayList<>();
            Queue<StreamRecord<String>> side = harness.getSideOutput(new OutputTag<>(tag, Types.STRING));
            if (side != null) {
                side.forEach(record -> lines.add(withoutClock(record.getValue())));
                side.clear();
            }
            outputs.put(tag, lines);
        }
        return outputs;
    }

    private static String withoutClock(String line) {
        return line.replaceAll("\"(processing_time_ms|failed_at_ms|recorded_at_ms|dead_lettered_at_ms|applied_at_ms)\":\\d+", "");
    }

    @Override
    public void close() throws Exception {
        harness.close();
    }
}
