/// A warning: Prometheus 3 reads it, but older versions, stricter readers or the description of the format refuse it.
struct Warning {
    enum Kind {
        case noFinalNewline
        case commentNotUTF8
        case proxySeries
        // HELP and TYPE
        case secondHelp
        case secondType
        case typeAfterSamples
        case familyNameWithSuffix
        case nameEndsEarly
        // Families and series
        case interleaved
        case secondSample
        case bucketWithoutLe
        case histogramSampleWithoutSuffix
        case summaryWithoutQuantile
        // The way in which a sample is written
        case quotedName
        case quotedLabelName
        case blankBeforeName
        case noBlankBeforeValue
        case noComma
        case lineBreakInValue
        case unknownEscape
        case repeatedEmptyLabel
    }

    var kind: Kind
    /// The byte that the warning is about.
    var offset: Int
    /// The end of the name that the message quotes.
    var end: Int

    /// The finding's message.
    func message(in text: UnsafeRawBufferPointer) -> String {
        let name = excerpt(text[offset..<max(end, offset)], quote: "\"")
        return switch kind {
        case .noFinalNewline: "missing newline at the end of the text"
        case .commentNotUTF8: "comment is not valid UTF-8: exporter-proxy refuses such metrics"
        case .proxySeries: "names that begin with exporter_proxy_ hide the series of exporter-proxy itself"
        case .secondHelp: "second HELP line for \(name)"
        case .secondType: "second TYPE line for \(name)"
        case .typeAfterSamples: "TYPE line for \(name) after its samples: write it before them"
        case .familyNameWithSuffix:
            "\(name) is a histogram or summary, but its name ends like that of one of its samples: write the name without the last part"
        case .nameEndsEarly: "character in a metric name that cannot be part of it: Prometheus ends the name here"
        case .interleaved: "samples of \(name) are not in one group: samples of other metrics are between them"
        case .secondSample: "series of \(name) occurs twice: Prometheus keeps the first sample"
        case .bucketWithoutLe: "\(name) is a bucket of a histogram, but has no label le"
        case .histogramSampleWithoutSuffix: "\(name) is a histogram: the names of its samples end in _bucket, _sum or _count"
        case .summaryWithoutQuantile: "\(name) is a summary, but this sample has no label quantile"
        case .quotedName: "quoted metric name: Prometheus 2 refuses it"
        case .quotedLabelName: "quoted label name: Prometheus 2 refuses it"
        case .blankBeforeName: "blank before the metric name: Prometheus 2 refuses it, and for Prometheus 3 it is part of the name"
        case .noBlankBeforeValue: "missing blank between name and value"
        case .noComma: "missing comma between labels"
        case .lineBreakInValue: "line break in a label value: write \\n"
        case .unknownEscape: "unknown escape sequence in a label value: write \\\\ for a backslash"
        case .repeatedEmptyLabel: "label \(name) occurs twice in one sample, and is empty: Prometheus drops all of them"
        }
    }
}
