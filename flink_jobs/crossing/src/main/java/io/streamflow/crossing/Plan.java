package io.streamflow.crossing;

import java.io.Serializable;
import java.util.List;

/** The settings of the operator, as the job graph carries them. */
public final class Plan implements Serializable {
    private static final long serialVersionUID = 1L;
    final String stateName;
    final String configState;
    final String configKey;
    /** Broadcast state of the rows of merchants; empty where the detector does not read them. */
    final String merchantState;
    final String runnerModule;
    /** Ids of the side outputs in the order of Python's tags; tag 0 is the main output. */
    final String[] sideOutputs;
    /** Number of records that end a batch. */
    final int batchRecords;
    /** Age in ms of the first record that ends a batch. */
    final long batchDelayMs;
    /** Number of customers whose decoded state Python keeps. */
    final int decodedStates;

    public Plan(
            String stateName,
            String configState,
            String configKey,
            String merchantState,
            String runnerModule,
            List<String> sideOutputs,
            int batchRecords,
            long batchDelayMs,
            int decodedStates) {
        this.stateName = stateName;
        this.configState = configState;
        this.configKey = configKey;
        this.merchantState = merchantState;
        this.runnerModule = runnerModule;
        this.sideOutputs = sideOutputs.toArray(new String[0]);
        this.batchRecords = batchRecords;
        this.batchDelayMs = batchDelayMs;
        this.decodedStates = decodedStates;
    }
}
