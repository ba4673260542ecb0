import TOML

extension ConfigValue where Value == Bool {
    static var boolean: Self {
        .scalar("true or false", example: "true") { (value, _) throws(Mismatch) in
            guard case .boolean(let flag) = value else {
                if case .string(let text) = value, ["true", "false"].contains(text.lowercased()) {
                    throw Mismatch(hint: "write \(text.lowercased()) without quotes")
                }
                return nil
            }
            return flag
        }
    }
}

extension ConfigValue where Value == Int {
    /// An integer in `range`.
    ///
    /// - Parameter zero: what 0 stands for, when it stands for something.
    static func integer(_ range: ClosedRange<Int>, example: Int, zeroMeans zero: Int = 0) -> Self {
        .scalar("an integer from \(range.lowerBound) to \(range.upperBound)", example: "\(example)") { (value, _) throws(Mismatch) in
            switch value {
            case .integer(let number):
                guard let number = Int(exactly: number), range.contains(number) else { return nil }
                return number == 0 ? zero : number
            case .string(let text):
                guard let number = Int(text) else { return nil }
                throw Mismatch(hint: "write \(number) without quotes")
            default: return nil
            }
        }
    }
}

extension ConfigValue where Value == Duration {
    /// A duration from one millisecond to a year.
    static func duration(example: String, orZero: Bool = false) -> Self {
        let lowest = orZero ? "0" : "1ms"
        return .scalar("a duration from \(lowest) to 365d in seconds or as text", example: ValueText.quoted(example)) {
            (value, _) throws(Mismatch) in
            let duration: Duration
            switch value {
            case .integer(let seconds):
                guard (0...DurationText.maximum.components.seconds).contains(seconds) else { return nil }
                duration = .seconds(seconds)
            case .string(let text):
                do throws(DurationText.Malformed) {
                    duration = try DurationText.parse(text)
                } catch {
                    throw Mismatch(hint: error.reason)
                }
            case .float: throw Mismatch(hint: "fractions are written in a smaller unit, such as \"1500ms\"")
            default: return nil
            }
            guard duration <= DurationText.maximum, orZero || duration > .zero else { return nil }
            return duration
        }
    }
}

extension ConfigValue where Value == ByteCount {
    /// A size from one byte to `maximum`.
    static func size(upTo maximum: ByteCount = .gibibytes(1 << 20), example: String) -> Self {
        let expected = "a size from 1 byte to \(ByteCountText.text(maximum)) in bytes or as text"
        return .scalar(expected, example: ValueText.quoted(example)) { (value, _) throws(Mismatch) in
            let bytes: Int
            switch value {
            case .integer(let number):
                guard let number = Int(exactly: number) else { return nil }
                bytes = number
            case .string(let text):
                do throws(ByteCountText.Malformed) {
                    bytes = try ByteCountText.parse(text)
                } catch {
                    throw Mismatch(hint: error.reason)
                }
            case .float: throw Mismatch(hint: "fractions are written in a smaller unit, such as \"1536KiB\"")
            default: return nil
            }
            guard (1...maximum.bytes).contains(bytes) else { return nil }
            return ByteCount(bytes)
        }
    }
}

extension ConfigValue where Value: RawRepresentable & CaseIterable & SendableMetatype, Value.RawValue == String {
    /// One of a type's cases, by name.
    static var choice: Self {
        let names = Value.allCases.map(\.rawValue)
        let expected = ValueText.alternatives(names.map(ValueText.quoted))
        return .scalar(expected, example: ValueText.quoted(names.first ?? "")) { (value, _) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            if let choice = Value(rawValue: text) { return choice }
            throw Mismatch(hint: KeySuggestion.nearest(to: text, among: names).map { "did you mean \(ValueText.quoted($0))?" })
        }
    }
}

extension ConfigValue where Value == String {
    /// Text that is not empty and has no control characters.
    static func text(_ expected: String, example: String) -> Self {
        .scalar(expected, example: ValueText.quoted(example)) { (value, _) throws(Mismatch) in
            guard case .string(let text) = value, !text.isEmpty, !ValueText.hasControl(text) else { return nil }
            return text
        }
    }

    /// Text that no message shows.
    static func secret(orEmpty: Bool = false) -> Self {
        .scalar(orEmpty ? "a string" : "a string that is not empty", example: "\"…\"", shown: { _ in nil }) { (value, _) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            guard orEmpty || !text.isEmpty else { throw Mismatch(hint: "it is empty") }
            // They go into a header's line; RFC 9110 §5.5.
            guard !ValueText.hasControl(text) else { throw Mismatch(hint: "it holds a control character") }
            return text
        }
    }

    /// A file's path, resolved against the config file's folder.
    static func path(example: String) -> Self {
        .scalar("a path", example: ValueText.quoted(example)) { (value, reader) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            guard !text.isEmpty else { throw Mismatch(hint: "it is empty") }
            guard !ValueText.hasControl(text) else { throw Mismatch(hint: "it holds a control character") }
            return ConfigPath.resolve(text, against: reader.folder)
        }
    }
}

extension ConfigValue where Value == [String] {
    /// An array of names.
    static func names(_ what: String, example: String, orNone: Bool = true) -> Self {
        let name = ConfigValue<String>.text("a name that is not empty", example: example)
        let array = array(of: name, "an array of the names \(what)", example: "[\(ValueText.quoted(example))]")
        if orNone { return array }
        return ConfigValue { node, key, reader in
            if case .array(let elements) = node.value, elements.isEmpty {
                reader.refuse(key, "\(key) must have at least one name, such as \(ValueText.quoted(example)), not an empty array")
                return nil
            }
            return array.read(node, key, &reader)
        }
    }
}

extension ConfigValue where Value == AppName {
    /// The name of an app.
    static var appName: Self {
        let expected = "a name of 1 to \(AppName.maxLength) bytes without control characters"
        return .scalar(expected, example: "\"node\"") { (value, _) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            return AppName(text)
        }
    }
}

extension ConfigValue where Value == UnixSocketConfig.Principal {
    /// A user or group: the process's own, a name or a number.
    static func principal(current: String, example: String) -> Self {
        .scalar("\(ValueText.quoted(current)), a name or a number", example: ValueText.quoted(example)) { (value, _) throws(Mismatch) in
            switch value {
            case .integer(let number): return id(number).map { .id($0) }
            case .string(current): return .current
            case .string(let text):
                if !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) {
                    return Int64(text).flatMap(id).map { .id($0) }
                }
                // `:` separates the fields of passwd and group, and a leading dash is a number that went wrong.
                guard !text.isEmpty, !text.hasPrefix("-"), !text.contains(":"),
                    !ValueText.hasControl(text), !text.contains(" ")
                else { return nil }
                return .name(text)
            default: return nil
            }
        }
    }

    /// The highest id stands for "unchanged" in chown(2).
    private static func id(_ number: Int64) -> UInt32? { UInt32(exactly: number).flatMap { $0 == .max ? nil : $0 } }
}

extension ConfigValue where Value == UInt16 {
    /// Permission bits as octal text.
    static var fileMode: Self {
        .scalar("three octal digits as text, with or without a zero in front", example: "\"0660\"") { (value, _) throws(Mismatch) in
            switch value {
            case .string(let text):
                guard text.utf8.count == 3 || text.utf8.count == 4, !text.hasPrefix("+"), let mode = UInt16(text, radix: 8) else {
                    return nil
                }
                guard mode <= 0o777 else { throw Mismatch(hint: "set-id and sticky bits have no meaning for a socket") }
                return mode
            case .integer: throw Mismatch(hint: "put it in quotes")
            default: return nil
            }
        }
    }
}
