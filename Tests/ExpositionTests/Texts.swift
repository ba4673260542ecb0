import Exposition

/// The first error in a text; `nil` when it is valid.
func firstError(_ text: String, refusesProxySeries: Bool = false) -> Finding? {
    firstError(Array(text.utf8), refusesProxySeries: refusesProxySeries)
}

func firstError(_ bytes: [UInt8], refusesProxySeries: Bool = false) -> Finding? {
    bytes.withUnsafeBytes { Validator(refusesProxySeries: refusesProxySeries).firstError(in: $0) }
}

/// All that is known of a text.
func survey(_ text: String, isStored: Bool = false) -> Survey { survey(Array(text.utf8), isStored: isStored) }

func survey(_ bytes: [UInt8], isStored: Bool = false) -> Survey { bytes.withUnsafeBytes { Survey(of: $0, isStored: isStored) } }

/// The text with labels; the first error when it gets none. A newline is added where the last one is missing, as the proxy does.
func labelled(_ text: [UInt8], _ labels: KeyValuePairs<String, String>) -> Result<[UInt8], Finding> {
    let text = text.isEmpty || text.last == UInt8(ascii: "\n") ? text : text + [UInt8(ascii: "\n")]
    let added = AddedLabels(labels.map { AddedLabels.Label(name: $0.key, value: $0.value) })
    return text.withUnsafeBytes { bytes in
        Result { () throws(Finding) in try Labelling(of: bytes, adding: added) }
            .map { labelling in
                var result = [UInt8](repeating: 0, count: labelling.size)
                result.withUnsafeMutableBytes { labelling.write(bytes, to: $0) }
                return result
            }
    }
}
