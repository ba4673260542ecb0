import NIOCore

/// `/apps` as JSON (SPEC §5), one app a line so that it can be read and searched without tools; after the apps what else the page shows.
enum AppsJSON {
    static func text(of entries: some Collection<AppEntry>, status: DaemonStatus, isReady: Bool, at now: Timestamp) -> ByteBuffer {
        var json = JSONWriter(capacity: 64 + 160 * entries.count)
        json.raw("{\"time\": ")
        json.string(now.rfc3339)
        json.raw(", \"apps\": [")
        for (index, entry) in entries.enumerated() {
            json.raw(index == 0 ? "\n" : ",\n")
            write(entry, to: &json)
        }
        json.raw(entries.isEmpty ? "]" : "\n]")
        write(status, isReady: isReady, to: &json)
        json.raw("}\n")
        return json.buffer
    }

    private static func write(_ status: DaemonStatus, isReady: Bool, to json: inout JSONWriter) {
        json.raw(", \"listeners\": [")
        for (index, listener) in status.listeners.enumerated() {
            json.raw(index == 0 ? "\n" : ",\n")
            write(listener, to: &json)
        }
        json.raw(status.listeners.isEmpty ? "]" : "\n]")
        json.raw(", \"reload\": ")
        if let reload = status.lastReload {
            json.raw("{\"time\": ")
            json.string(reload.time.rfc3339)
            json.raw(", \"error\": ")
            json.string(reload.error)
            json.raw("}")
        } else {
            json.raw("null")
        }
        json.raw(isReady ? ", \"ready\": true" : ", \"ready\": false")
        json.raw(", \"version\": ")
        json.string(status.version)
        json.raw(", \"start_time\": ")
        json.string(status.startTime.rfc3339)
    }

    private static func write(_ listener: DaemonStatus.Listener, to json: inout JSONWriter) {
        json.raw("{\"name\": ")
        json.string(listener.name)
        json.raw(", \"kind\": ")
        json.string(listener.kind.rawValue)
        json.raw(", \"format\": ")
        json.string(listener.format?.rawValue)
        json.raw(", \"tls\": ")
        json.string(listener.tls)
        json.raw(", \"open_connections\": ")
        json.number(listener.openConnections)
        json.raw(", \"certificate_end\": ")
        json.string(listener.certificateEnd?.rfc3339)
        json.raw("}")
    }

    private static func write(_ entry: AppEntry, to json: inout JSONWriter) {
        json.raw("{\"name\": ")
        json.string(entry.name.description)
        json.raw(", \"source\": ")
        json.string(entry.source.description)
        json.raw(", \"last_update\": ")
        json.string(entry.lastUpdate?.time.rfc3339)
        json.raw(", \"bytes\": ")
        json.number(entry.exposition.size)
        switch entry.state {
        case .expired(let error):
            json.raw(", \"state\": \"expired\", \"error\": ")
            json.string(error)
            json.raw("}")
        case .ok:
            json.raw(", \"state\": \"ok\", \"error\": null}")
        case .failing(let reason):
            json.raw(", \"state\": \"failing\", \"error\": ")
            json.string(reason)
            json.raw("}")
        }
    }
}
