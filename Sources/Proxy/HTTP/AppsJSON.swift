import NIOCore

/// `/apps` as JSON (SPEC §5), one app a line so that it can be read and searched without tools.
enum AppsJSON {
    static func text(of entries: some Collection<AppEntry>, at now: Timestamp) -> ByteBuffer {
        var json = JSONWriter(capacity: 64 + 160 * entries.count)
        json.raw("{\"time\": ")
        json.string(now.rfc3339)
        json.raw(", \"apps\": [")
        for (index, entry) in entries.enumerated() {
            json.raw(index == 0 ? "\n" : ",\n")
            write(entry, to: &json)
        }
        json.raw(entries.isEmpty ? "]}\n" : "\n]}\n")
        return json.buffer
    }

    private static func write(_ entry: AppEntry, to json: inout JSONWriter) {
        json.raw("{\"name\": ")
        json.string(entry.name.description)
        json.raw(", \"source\": ")
        json.string(entry.source.description)
        json.raw(", \"last_update\": ")
        json.string(entry.lastUpdate?.rfc3339)
        json.raw(", \"bytes\": ")
        json.number(entry.exposition.size)
        switch entry.state {
        case .ok:
            json.raw(", \"state\": \"ok\", \"error\": null}")
        case .failing(let reason):
            json.raw(", \"state\": \"failing\", \"error\": ")
            json.string(reason)
            json.raw("}")
        }
    }
}
