package io.streamflow.crossing;

import java.nio.charset.StandardCharsets;

import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;

/** Writes {@code key LF value} as a message with this key. */
final class KeyedMessageSchema implements KafkaRecordSerializationSchema<String> {
    private static final long serialVersionUID = 1L;
    private final String topic;

    KeyedMessageSchema(String topic) {
        this.topic = topic;
    }

    @Override
    public ProducerRecord<byte[], byte[]> serialize(String line, KafkaSinkContext context, Long timestamp) {
        int cut = line.indexOf('\n');
        byte[] key = line.substring(0, cut).getBytes(StandardCharsets.UTF_8);
        return new ProducerRecord<>(topic, key, line.substring(cut + 1).getBytes(StandardCharsets.UTF_8));
    }
}
