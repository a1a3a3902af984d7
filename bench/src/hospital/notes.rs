//! Notes in Chinese: admission, operation and discharge records, and the calls after discharge.

use super::{
    Options,
    clock::{Minute, dashed},
    people::{Patient, Role, Visit},
    rng::Rng,
};
use serde_json::json;

/// A note and the day on which it is written.
pub struct Note {
    /// Day of arrival.
    pub arrives: i64,
    /// The patient's number in the path.
    pub mrn: String,
    /// Visit number in the path.
    pub visit: String,
    /// 入院记录, 手术记录, 出院记录 or 会诊记录.
    pub kind: &'static str,
    /// True: written in GB18030; else UTF-8.
    pub gb18030: bool,
    /// The text.
    pub text: String,
}

/// The notes of a patient, by time.
pub fn notes(options: &Options, patient: &Patient) -> Vec<Note> {
    let mut notes = Vec::new();
    for (number, visit) in patient.visits.iter().enumerate() {
        let mut rng = Rng::of(options.seed, &[4, patient.index, number as u64]);
        let mut push = |at: Minute, kind: &'static str, text: String| {
            notes.push(Note {
                arrives: at.day(),
                mrn: patient.mrn_at(at).to_owned(),
                visit: visit.no.clone(),
                kind,
                gb18030: patient.index % 4 == 1,
                text,
            });
        };
        push(
            visit.admitted.plus(180),
            "入院记录",
            admission(&mut rng, patient, visit),
        );
        let Some(operation) = &visit.operation else { continue };
        push(
            operation.at.plus(200),
            "手术记录",
            operation_record(&mut rng, patient, visit),
        );
        if matches!(patient.role, Role::Wrong | Role::Deleted | Role::SameNote) {
            // Equal in every byte for all who have it: equal content does not make two patients' notes one.
            push(operation.at.plus(-1_200), "会诊记录", CONSULTATION.to_owned());
        }
        if let Some(discharge) = visit.discharges.last() {
            push(
                discharge.at,
                "出院记录",
                discharge_record(&mut rng, patient, visit, discharge.at),
            );
        }
    }
    notes
}

const CONSULTATION: &str = "会诊记录\n会诊科室：心内科\n会诊意见：心功能II级，无支架置入禁忌。同意目前诊疗方案，继续双联抗血小板及他汀治疗，\
    围手术期注意血压及心率变化。\n";

const COMPLAINTS: [(&str, &str); 5] = [
    (
        "发作性左侧肢体无力{n}天",
        "患者{n}天前无明显诱因出现左侧肢体无力，持续约10分钟后自行缓解，其后反复发作3次，无意识障碍，无抽搐",
    ),
    (
        "头晕伴行走不稳{n}天",
        "患者{n}天前出现头晕，呈非旋转性，伴行走不稳，无耳鸣，无恶心呕吐，休息后可部分缓解",
    ),
    (
        "言语不清{n}天",
        "患者{n}天前晨起时发现言语含糊，家属诉其口角稍歪斜，当地医院头颅CT未见出血",
    ),
    (
        "右眼一过性黑矇{n}天",
        "患者{n}天前突发右眼视物发黑，约5分钟后恢复，共发作2次，眼科检查未见明显异常",
    ),
    (
        "体检发现颈动脉狭窄{n}天",
        "患者{n}天前体检行颈部血管超声提示颈动脉狭窄，无肢体无力及言语障碍，为求进一步诊治来院",
    ),
];
const HISTORIES: [&str; 5] = [
    "高血压病史10余年，最高180/100mmHg，规律服用氨氯地平",
    "2型糖尿病8年，口服二甲双胍，血糖控制欠佳",
    "冠心病5年，长期服用阿司匹林",
    "否认高血压、糖尿病病史",
    "高脂血症3年，未规律服药",
];
const HABITS: [&str; 4] = [
    "吸烟40年，20支/日，未戒",
    "吸烟30年，已戒5年；偶饮酒",
    "否认吸烟、饮酒史",
    "饮酒20年，白酒约100g/日",
];

fn admission(rng: &mut Rng, p: &Patient, visit: &Visit) -> String {
    let (complaint, course) = rng.pick(&COMPLAINTS);
    let days = rng.range(2, 30).to_string();
    let (side, stenosis) = visit.operation.as_ref().map_or(("左", 55), |o| (o.side, o.stenosis));
    format!(
        "入院记录\n姓名：{}    性别：{}    年龄：{}岁    住院号：{}\n入院日期：{}\n主诉：{}。\n现病史：{}。外院颈部CTA示{side}侧颈内动脉\
         起始部狭窄约{stenosis}%。病程中饮食睡眠可，二便如常，体重无明显变化。\n既往史：{}。{}。否认药物过敏史。\n体格检查：T {:.1}℃，P {}次/分，\
         R {}次/分，BP {}/{}mmHg。神志清楚，言语{}，双侧瞳孔等大等圆，直径约3mm，对光反射灵敏。{}侧颈部可闻及血管杂音。四肢肌力{}级，\
         病理征未引出。NIHSS评分{}分，mRS {}分。\n辅助检查：颈动脉彩超示双侧颈动脉粥样硬化斑块形成，{side}侧颈内动脉狭窄（{}）。\n初步诊断：\
         1.{side}侧颈内动脉狭窄 2.{}\n诊疗计划：完善术前检查，阿司匹林100mg qd联合氯吡格雷75mg qd，阿托伐他汀40mg qn，择期行全脑血管造影\
         及支架置入术。\n医师签名：{}\n",
        if p.temporary.is_some() { "无名氏" } else { &p.name },
        if p.sex == 'M' { "男" } else { "女" },
        p.age,
        visit.no,
        visit.admitted.chinese(),
        complaint.replace("{n}", &days),
        course.replace("{n}", &days),
        rng.pick(&HISTORIES),
        rng.pick(&HABITS),
        36.0 + rng.range(0, 12) as f64 / 10.0,
        rng.range(58, 96),
        rng.range(16, 21),
        rng.range(118, 176),
        rng.range(64, 102),
        if rng.one_in(4) { "稍含糊" } else { "清晰" },
        side,
        if rng.one_in(3) { "4" } else { "5" },
        rng.range(0, 5),
        rng.range(0, 3),
        if stenosis >= 70 {
            "重度，70%-99%"
        } else {
            "中度，50%-69%"
        },
        if rng.one_in(2) {
            "高血压病3级 极高危"
        } else {
            "短暂性脑缺血发作"
        },
        visit.doctor,
    )
}

fn operation_record(rng: &mut Rng, p: &Patient, visit: &Visit) -> String {
    let Some(o) = &visit.operation else {
        return String::new();
    };
    let femoral = if rng.one_in(6) {
        "右侧桡动脉"
    } else {
        "右侧股动脉"
    };
    format!(
        "手术记录\n住院号：{}    性别：{}    年龄：{}岁\n手术日期：{}\n手术名称：全脑血管造影术+{}侧颈内动脉支架置入术\n术者：{}    麻醉方式：局部麻醉\n\
         手术经过：患者平卧，常规消毒铺巾，Seldinger法穿刺{femoral}，置入8F动脉鞘，全身肝素化（肝素{}U）。造影示：{}侧颈内动脉起始部偏心性狭窄，\
         狭窄率{}%（NASCET），对侧颈内动脉轻度狭窄（约30%），椎动脉未见明显狭窄。8F导引导管置于{}侧颈总动脉，微导丝引导下将{}保护伞送至颈内动脉岩段释放。\
         以{}mm×30mm球囊预扩张，压力{}atm，狭窄处明显改善。沿导丝送入{}（{}）支架，定位准确后释放，造影示支架贴壁良好，残余狭窄{}%，前向血流TICI 3级。\
         回收保护伞，伞内{}。\n术中情况：{}。术中血压{}/{}mmHg，心率{}次/分。\n术后处理：返回病房，心电监护，收缩压控制在110-140mmHg，继续双联抗血小板治疗。\n\
         记录者：{}\n",
        visit.no,
        if p.sex == 'M' { "男" } else { "女" },
        p.age,
        o.at.chinese(),
        o.side,
        o.surgeon,
        rng.range(30, 60) * 100,
        o.side,
        o.stenosis,
        o.side,
        o.protection,
        rng.range(4, 7),
        rng.range(6, 11),
        o.stent,
        o.size,
        o.residual,
        if rng.one_in(3) {
            "可见少许碎屑"
        } else {
            "未见明显斑块碎屑"
        },
        o.complication.unwrap_or("手术顺利，术中无特殊，未出现并发症"),
        rng.range(105, 150),
        rng.range(60, 90),
        rng.range(48, 85),
        visit.doctor,
    )
}

fn discharge_record(rng: &mut Rng, p: &Patient, visit: &Visit, at: Minute) -> String {
    let Some(o) = &visit.operation else {
        return String::new();
    };
    format!(
        "出院记录\n姓名：{}    住院号：{}    病案号：{}\n入院日期：{}    出院日期：{}\n入院诊断：{}侧颈内动脉狭窄\n出院诊断：{}侧颈内动脉重度狭窄\
         支架置入术后\n诊疗经过：入院后完善相关检查，排除禁忌后于{}在局麻下行{}侧颈内动脉支架置入术，术前狭窄{}%，植入{}支架一枚（{}），残余狭窄{}%。{}。\
         术后复查头颅CT未见出血。\n出院情况：患者一般情况可，神清语利，四肢肌力5级，穿刺点无渗血。\n出院医嘱：1.阿司匹林100mg qd长期，氯吡格雷75mg qd至少{}个月；\
         2.阿托伐他汀20mg qn；3.控制血压低于140/90mmHg；4.1个月后神经介入门诊复查颈动脉彩超；5.不适随诊，联系电话{}。\n医师签名：{}\n",
        if p.temporary.is_some() { "无名氏" } else { &p.name },
        visit.no,
        p.mrn_at(at),
        visit.admitted.chinese(),
        at.chinese(),
        o.side,
        o.side,
        dashed(o.at.day()),
        o.side,
        o.stenosis,
        o.stent,
        o.size,
        o.residual,
        o.complication.unwrap_or("术后恢复顺利，无并发症"),
        if rng.one_in(3) { 6 } else { 3 },
        p.phone,
        visit.doctor,
    )
}

/// A call after discharge: the day of arrival and the JSON line.
pub fn dialogues(options: &Options, patient: &Patient) -> Vec<(i64, String)> {
    const FEELINGS: [&str; 4] = [
        "挺好的，没什么不舒服",
        "偶尔有点头晕，躺一会就好",
        "左手还是有点没劲，比出院时好",
        "这两天头有点胀，没吐",
    ];
    const DRUGS: [&str; 4] = [
        "都按时吃着呢",
        "氯吡格雷前天吃完了，还没去开",
        "阿司匹林在吃，他汀有时候忘",
        "按时吃，就是牙龈有点出血",
    ];
    const PRESSURES: [&str; 3] = ["早上量的132/78", "没量，家里血压计坏了", "有时候到150多"];
    let mut calls = Vec::new();
    for (number, visit) in patient.visits.iter().enumerate() {
        let Some(left) = visit.discharges.last().filter(|_| visit.operation.is_some()) else {
            continue;
        };
        for (call, after) in [7, 14].into_iter().enumerate() {
            let mut rng = Rng::of(options.seed, &[5, patient.index, number as u64, call as u64]);
            let at = Minute::at(left.at.day() + after, rng.range(9, 17), rng.range(0, 60));
            let text = format!(
                "护士：您好，我是神经介入科随访护士，请问是{}{}吗？\n患者：是的。\n护士：出院以后感觉怎么样？\n患者：{}。\n护士：药按时吃吗？\n患者：{}。\n\
                 护士：血压多少？\n患者：{}。\n护士：好的，记得一个月后来复查颈动脉彩超。",
                patient
                    .name
                    .chars()
                    .take(
                        if patient.name.starts_with("欧阳") || patient.name.starts_with("上官") {
                            2
                        } else {
                            1
                        }
                    )
                    .collect::<String>(),
                if patient.sex == 'M' { "先生" } else { "女士" },
                rng.pick(&FEELINGS),
                rng.pick(&DRUGS),
                rng.pick(&PRESSURES),
            );
            let line = json!({
                "call_no": format!("SF{}{}", visit.no, call + 1),
                "mrn": patient.mrn_at(at),
                "visit_no": visit.no,
                "called_at": at.iso(),
                "text": text,
            });
            calls.push((at.day(), line.to_string()));
        }
    }
    calls
}
