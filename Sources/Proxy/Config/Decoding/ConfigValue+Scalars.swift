import HTTP
import TOML

extension ConfigValue where Value == Bool {
    static var boolean: Self {
        .scalar("true or false", example: "true", text: { "\($0)" }) { (value, _) throws(Mismatch) in
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
    /// - Parameter zero: the value that 0 means, if it has a special meaning.
    static func integer(_ range: ClosedRange<Int>, example: Int, zeroMeans zero: Int = 0) -> Self {
        let expected = "an integer from \(range.lowerBound) to \(range.upperBound)"
        return .scalar(expected, example: "\(example)", text: { "\($0)" }) { (value, _) throws(Mismatch) in
            switch value {
            case .integer(let number):
                guard let number = Int(exactly: number), range.contains(number) else { return nil }
                return number == 0 ? zero : number
            case .string(let text):
                guard let number = Int(text), range.contains(number) else { return nil }
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
        let expected = "a duration from \(lowest) to 365d in seconds or as text"
        return .scalar(expected, example: ValueText.quoted(example), text: DurationText.text) { (value, _) throws(Mismatch) in
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
        return .scalar(expected, example: ValueText.quoted(example), text: ByteCountText.text) { (value, _) throws(Mismatch) in
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

extension ConfigValue where Value == ClientAuthType {
    static var clientAuthType: Self {
        let names = ValueText.alternatives(ClientAuthType.allCases.map { ValueText.quoted($0.rawValue) })
        return .scalar(names, example: ValueText.quoted(ClientAuthType.requireAndVerifyClientCert.rawValue), text: \.rawValue) {
            (value, _) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            if let type = ClientAuthType(rawValue: text) { return type }
            // A suggestion by similarity could be weaker than what is meant. Only the old name of exporter-toolkit is certain.
            throw Mismatch(
                hint: text == "RequireClientCert" ? "its name is \(ValueText.quoted(ClientAuthType.requireAnyClientCert.rawValue))" : nil)
        }
    }
}

extension ConfigValue where Value: RawRepresentable & CaseIterable & SendableMetatype, Value.RawValue == String {
    /// One of a type's cases, by name.
    static var choice: Self {
        let names = Value.allCases.map(\.rawValue)
        let expected = ValueText.alternatives(names.map(ValueText.quoted))
        return .scalar(expected, example: ValueText.quoted(names.first ?? ""), text: \.rawValue) { (value, _) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            if let choice = Value(rawValue: text) { return choice }
            throw Mismatch(hint: KeySuggestion.nearest(to: text, among: names).map { "did you mean \(ValueText.quoted($0))?" })
        }
    }
}

extension ConfigValue where Value == String {
    /// Text that is not empty and has no control characters.
    static func text(_ expected: String, example: String) -> Self {
        .scalar(expected, example: ValueText.quoted(example), text: { $0 }) { (value, _) throws(Mismatch) in
            guard case .string(let text) = value, !text.isEmpty, !ValueText.hasControl(text) else { return nil }
            return text
        }
    }

    /// Text that no message shows.
    static func secret(orEmpty: Bool = false) -> Self {
        let expected = orEmpty ? "a string" : "a string that is not empty"
        let secret = Self.scalar(expected, example: "\"…\"", isSecret: true, text: { $0 }) { (value, _) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            guard orEmpty || !text.isEmpty else { throw Mismatch(hint: "it is empty") }
            // It becomes part of a header line; RFC 9110 §5.5.
            guard !ValueText.hasControl(text) else { throw Mismatch(hint: "it holds a control character") }
            return text
        }
        return secret.noted { _ in true }
    }

    /// A file's path, resolved against the config file's folder.
    static func path(example: String, orEmpty: Bool = false) -> Self {
        let expected = orEmpty ? "a path or \"\"" : "a path"
        let path = scalar(expected, example: ValueText.quoted(example), text: { $0 }) { (value, reader) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            if text.isEmpty, orEmpty { return "" }
            guard !text.isEmpty else { throw Mismatch(hint: "it is empty") }
            guard !ValueText.hasControl(text) else { throw Mismatch(hint: "it holds a control character") }
            guard text.last != "/" else { throw Mismatch(hint: "it names a folder") }
            if let scheme = text.prefixMatch(of: #/unix:|file:\/\/|[a-z]+:\/\//#)?.output {
                throw Mismatch(hint: "a path has no \"\(scheme)\": did you mean \(ValueText.quoted(String(text.dropFirst(scheme.count))))?")
            }
            return ConfigPath.resolve(text, against: reader.folder)
        }
        return path.noted { path, key, reader in reader.notePath(key, path) }
    }
}

extension ConfigValue {
    /// The same value, recorded as a secret in the config file if it is one.
    func noted(isSecret: @escaping @Sendable (Value) -> Bool) -> ConfigValue {
        noted { value, key, reader in if isSecret(value) { reader.noteSecret(key) } }
    }

    /// The same value, which `note` records in the reader too.
    fileprivate func noted(_ note: @escaping @Sendable (Value, _ key: String, _ reader: inout ConfigReader) -> Void) -> ConfigValue {
        ConfigValue(leaves: leaves) { [read] node, key, reader in
            guard let value = read(node, key, &reader) else { return nil }
            note(value, key, &reader)
            return value
        } settings: { [settings] value, key in
            settings(value, key)
        }
    }
}

extension ConfigValue where Value == [String] {
    /// An array of names.
    static func names(_ what: String, example: String, orNone: Bool = true) -> Self {
        let name = ConfigValue<String>.text("a name that is not empty", example: example)
        let array = array(of: name, "an array of the names \(what)", example: "[\(ValueText.quoted(example))]", shown: ValueText.array)
        if orNone { return array }
        return ConfigValue(shown: { .text(ValueText.array($0)) }) { node, key, reader in
            if case .array(let elements) = node.value, elements.isEmpty {
                reader.refuse(key, "\(key) must have at least one name, such as \(ValueText.quoted(example)), not an empty array")
                return nil
            }
            return array.read(node, key, &reader)
        }
    }

    /// Names of cipher suites. OpenSSL alone knows which there are, so they are recorded for a later check.
    static let cipherSuites = tlsNames(.cipherSuite, names("of cipher suites", example: "TLS_AES_128_GCM_SHA256"))
    /// Names of curves; recorded, too.
    static let curves = tlsNames(.curve, names("of curves", example: "X25519"))

    private static func tlsNames(_ kind: ConfigOrigin.NamedTLSName.Kind, _ names: Self) -> Self {
        names.noted { names, key, reader in
            for (index, name) in names.enumerated() { reader.noteTLSName("\(key)[\(index)]", kind, name) }
        }
    }
}

extension ConfigValue where Value == AppName {
    /// The name of an app.
    static var appName: Self {
        let expected = "a name of 1 to \(AppName.maxLength) bytes without control characters"
        return .scalar(expected, example: "\"node\"", text: \.description) { (value, _) throws(Mismatch) in
            guard case .string(let text) = value else { return nil }
            return AppName(text)
        }
    }
}

extension ConfigValue where Value == UnixSocketConfig.Principal {
    /// A user or group: the process's own, a name or a number.
    static func principal(current: String, example: String) -> Self {
        .scalar("\(ValueText.quoted(current)), a name or a number", example: ValueText.quoted(example), text: { "\($0)" }) {
            (value, _) throws(Mismatch) in
            if case .string(current) = value { return .current }
            return switch SystemAccount(value) {
            case .name(let name): .name(name)
            case .id(let id): .id(id)
            case nil: nil
            }
        }
    }
}

extension ConfigValue where Value == [SystemAccount] {
    /// Users or groups, by name or number.
    static func accounts(_ what: String, example: String) -> Self {
        let account = ConfigValue<SystemAccount>.scalar("a name or a number", example: ValueText.quoted(example), text: \.description) {
            (value, _) throws(ConfigValue<SystemAccount>.Mismatch) in
            SystemAccount(value)
        }
        return array(
            of: account, "an array of \(what), by name or number", example: "[\(ValueText.quoted(example))]",
            shown: { ValueText.array($0.map(\.description)) })
    }
}

extension SystemAccount {
    /// `nil` when the value is neither a name nor an id.
    fileprivate init?(_ value: TOMLNode.Value) {
        switch value {
        case .integer(let number):
            guard let id = Self.id(number) else { return nil }
            self = .id(id)
        case .string(let text):
            if !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) {
                guard let id = Int64(text).flatMap(Self.id) else { return nil }
                self = .id(id)
                return
            }
            // `:` separates the fields of passwd and group, and a leading dash is a wrong number.
            guard !text.isEmpty, !text.begins(with: "-"), !text.holds(":"), !ValueText.hasControl(text), !text.holds(" ") else {
                return nil
            }
            self = .name(text)
        default: return nil
        }
    }

    /// The highest id means "unchanged" in chown(2).
    private static func id(_ number: Int64) -> UInt32? { UInt32(exactly: number).flatMap { $0 == .max ? nil : $0 } }
}

extension ConfigValue where Value == UInt16 {
    /// Permission bits as octal text.
    static var fileMode: Self {
        ConfigValue(shown: { .text(Self.octal($0)) }) { node, key, reader in
            let refused: String
            switch node.value {
            case .string(let text):
                if text.utf8.count == 3 || text.utf8.count == 4, let mode = Self.mode(text[...]) {
                    if mode <= 0o777 { return mode }
                    refused = "\(ValueText.quoted(text)); set-id and sticky bits have no meaning for a socket"
                } else if text.hasPrefix("0o"), let mode = Self.mode(text.dropFirst(2)), mode <= 0o777 {
                    refused = "\(ValueText.quoted(text)); write \(ValueText.quoted(Self.octal(mode)))"
                } else {
                    refused = "the string \(ValueText.quoted(text))"
                }
            case .integer:
                let written = reader.number(at: node.position)
                let digits = written.hasPrefix("0o") ? written.dropFirst(2) : written[...]
                // 660 is meant as octal digits too, so the written form of the number counts.
                let meant = Self.mode(digits).flatMap { $0 <= 0o777 ? Self.octal($0) : nil }
                refused = "the integer \(written)\(meant.map { "; write \(ValueText.quoted($0)), in quotes" } ?? "")"
            default: refused = ValueText.describe(node.value)
            }
            reader.refuse(
                key, "\(key) must be three octal digits as text, with or without a zero in front, such as \"0660\", not \(refused)",
                at: node.position)
            return nil
        }
    }

    /// `nil` unless all characters are octal digits: Swift also takes a sign.
    private static func mode(_ digits: Substring) -> UInt16? {
        digits.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) } ? UInt16(digits, radix: 8) : nil
    }

    /// `0660`.
    private static func octal(_ mode: UInt16) -> String {
        let digits = String(mode, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
