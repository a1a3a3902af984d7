//! Words for results, in Chinese and English, and the concepts they stand for.

use std::{collections::HashMap, sync::LazyLock};

/// What a word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A result.
    Result(&'static str),
    /// There is no result, and why.
    NoResult(&'static str),
}

/// Concept, then the words for it: lower case, half width, simplified, without spaces. `none` alone is how programs write a
/// missing value.
const RESULTS: &[(&str, &str)] = &[
    ("positive", "阳性 阳 pos positive 阳性反应"),
    ("negative", "阴性 阴 neg negative 阴性反应"),
    (
        "weakly-positive",
        "弱阳性 弱阳 weakpositive weaklypositive weakpos wkpos 弱阳性反应",
    ),
    (
        "strongly-positive",
        "强阳性 强阳 strongpositive stronglypositive strongpos",
    ),
    (
        "indeterminate",
        "可疑 可疑阳性 疑似阳性 不确定 灰区 临界 临界值 borderline equivocal indeterminate inconclusive suspicious",
    ),
    (
        "detected",
        "检出 已检出 检测到 查见 可见 查到 找到 detected found present seen 有",
    ),
    (
        "not-detected",
        "未检出 未检测到 未检到 未测出 未查见 未见 未发现 未找到 未查到 检不出 无 没有 nd n.d. notdetected undetected undetectable noneseen notseen notfound absent 低于检测下限 低于检出限 低于检测限 低于检出下限 低于最低检出限 低于最低检测限 检测不到 测不出 tnd targetnotdetected <lod <loq belowdetectionlimit",
    ),
    ("reactive", "反应性 有反应性 有反应 reactive"),
    ("non-reactive", "非反应性 无反应性 无反应 nonreactive non-reactive nr"),
    ("normal", "正常 normal 未见异常 未见明显异常 无异常"),
    ("abnormal", "异常 abnormal"),
    ("trace", "微量 痕量 极微量 tr trace"),
    ("rare", "偶见 罕见 rare occasional occ"),
    ("few", "少量 少许 少见 few small sm 少"),
    ("moderate", "中量 中等量 中等 moderate mod"),
    ("many", "大量 多量 多见 many large lg lge 满视野 满视 多"),
    ("clear", "清 清亮 清晰 透明 澄清 清澈 澄清透明 clear 透亮"),
    (
        "slightly-cloudy",
        "微浑 微混 微浊 轻度浑浊 稍浑 微浑浊 微混浊 hazy slightlycloudy slcloudy",
    ),
    ("cloudy", "浑浊 混浊 浑 浊 cloudy turbid"),
    ("colourless", "无色 colorless colourless"),
    (
        "pale-yellow",
        "淡黄 淡黄色 浅黄 浅黄色 straw paleyellow lightyellow ltyellow",
    ),
    ("yellow", "黄 黄色 yellow"),
    ("dark-yellow", "深黄 深黄色 darkyellow dkyellow"),
    ("amber", "琥珀色 amber"),
    ("red", "红 红色 red"),
    ("pale-red", "淡红 淡红色 浅红色 粉红色 pink"),
    ("brown", "棕色 褐色 棕褐色 brown 黄褐色"),
    ("soft", "软 软便 soft"),
];

/// Reason, then the words for it.
const NO_RESULTS: &[(&str, &str)] = &[
    (
        "haemolysed",
        "溶血 标本溶血 样本溶血 轻度溶血 中度溶血 重度溶血 溶血标本 hemolyzed haemolysed hemolysed",
    ),
    ("lipaemic", "脂血 乳糜 重度脂血 标本乳糜 lipemic lipaemic"),
    ("clotted", "凝块 标本凝固 有凝块 凝固 凝血 clotted"),
    (
        "insufficient",
        "量不足 标本量不足 标本量少 量少 标本不足 qns quantitynotsufficient insufficient",
    ),
    (
        "unsuitable",
        "标本不合格 不合格 拒收 退检 标本污染 污染 rejected contaminated",
    ),
    (
        "not-done",
        "未做 未测 未检 未检测 取消 已取消 停做 notdone cancelled canceled hold pending 待报 待测 unabletoreport testnotperformed",
    ),
    (
        "see-report",
        "见报告 见附页 详见报告 见图文报告 见备注 见说明 另见报告 seecomments seecomment seereport seenote",
    ),
];

static WORDS: LazyLock<HashMap<&'static str, Word>> = LazyLock::new(|| {
    let results = RESULTS.iter().map(|(code, words)| (Word::Result(code), *words));
    let without = NO_RESULTS.iter().map(|(code, words)| (Word::NoResult(code), *words));
    let all = results.chain(without);
    all.flat_map(|(word, words)| words.split(' ').map(move |text| (text, word)))
        .collect()
});

/// Words longer than this are not looked up.
const MAX_BYTES: usize = 64;

/// The concept behind a folded text, by `buffer` in lower case and without spaces.
pub fn find(text: &str, buffer: &mut String) -> Option<Word> {
    if text.is_empty() || text.len() > MAX_BYTES {
        return None;
    }
    buffer.clear();
    buffer.extend(text.chars().filter(|c| *c != ' ').map(|c| c.to_ascii_lowercase()));
    WORDS
        .get(buffer.trim_end_matches(['.', '。', '!']))
        .or_else(|| WORDS.get(buffer.as_str()))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_has_two_meanings() {
        let all: Vec<&str> = RESULTS
            .iter()
            .chain(NO_RESULTS)
            .flat_map(|(_, words)| words.split(' '))
            .collect();
        assert_eq!(all.len(), WORDS.len());
        assert!(all.iter().all(|word| !word.is_empty()));
        assert_eq!(
            find("Not Detected", &mut String::new()),
            Some(Word::Result("not-detected"))
        );
        assert_eq!(find("溶血", &mut String::new()), Some(Word::NoResult("haemolysed")));
        assert_eq!(find("x", &mut String::new()), None);
    }
}
