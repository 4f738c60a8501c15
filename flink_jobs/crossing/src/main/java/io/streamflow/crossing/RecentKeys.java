package io.streamflow.crossing;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The customers whose decoded state Python has, as far as Java can tell: their state need not be read and sent. A wrong
 * answer costs time only: Python asks for a state that it lacks, and ignores a state that it has.
 */
final class RecentKeys extends LinkedHashMap<String, Boolean> {
    private static final long serialVersionUID = 1L;
    private final int capacity;

    RecentKeys(int capacity) {
        super(1024, 0.75f, true);
        this.capacity = capacity;
    }

    /** Returns whether Python has the state, and marks the customer as used. */
    boolean has(String key) {
        return get(key) != null;
    }

    void add(String key) {
        put(key, Boolean.TRUE);
    }

    @Override
    protected boolean removeEldestEntry(Map.Entry<String, Boolean> eldest) {
        return size() > capacity;
    }
}
