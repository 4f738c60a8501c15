package io.streamflow.crossing;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.TimestampType;
import org.apache.flink.types.Row;
import org.apache.flink.util.Collector;

/** Reads records of partition 2 of a topic, for tests of schemas. */
final class Reading {
    /** Time of every record. */
    static final long AT = 1_763_696_776_023L;

    private Reading() {}

    static List<Row> read(
            KafkaRecordDeserializationSchema<Row> schema, long offset, byte[] key, byte[] value, RecordHeaders headers)
            throws Exception {
        List<Row> rows = new ArrayList<>();
        schema.deserialize(
                new ConsumerRecord<>("t", 2, offset, AT, TimestampType.CREATE_TIME, 0, 0, key, value, headers, Optional.empty()),
                new Collector<>() {
                    @Override
                    public void collect(Row row) {
                        rows.add(row);
                    }

                    @Override
                    public void close() {}
                });
        return rows;
    }
}
