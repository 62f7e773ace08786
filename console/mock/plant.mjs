/**
 * The scripted plant behind the mock: sources, points, alarms and hazards that rise and fall.
 * Every figure here is made up for looking at pages; none is a rule of the engine.
 */
const text = (zh, en) => ({ zh, en });

export const SOURCES = [
  ["tank-farm", text("苯储罐区", "Benzene tank farm"), "chemical", 1, "orange"],
  ["lng", text("液化天然气储罐", "LNG storage"), "chemical", 2, "yellow"],
  ["chlorine", text("液氯库", "Chlorine store"), "chemical", 1, "red"],
  ["ammonia", text("合成氨装置", "Ammonia unit"), "chemical", 3, "none"],
  ["face-3108", text("3108 综采工作面", "Longwall face 3108"), "coal_mine", null, "blue"],
  ["return-2", text("二采区回风巷", "Return airway, district 2"), "coal_mine", null, "none"],
];

const KINDS = [
  ["level", text("液位", "level"), "%", 0, 100, 55, [["ll", 10, 2], ["l", 20, 3], ["h", 80, 3], ["hh", 90, 1]]],
  ["pressure", text("压力", "pressure"), "MPa", 0, 2.5, 1.1, [["h", 1.8, 2], ["hh", 2.1, 1]]],
  ["temperature", text("温度", "temperature"), "℃", -20, 150, 38, [["h", 60, 3], ["hh", 80, 2]]],
  ["gas", text("可燃气体", "flammable gas"), "%LEL", 0, 100, 6, [["gas1", 25, 2], ["gas2", 50, 1]]],
];
const METHANE = ["methane", text("甲烷", "methane"), "%CH4", 0, 4, 0.42, [["mine_alarm", 1, 2], ["mine_cut", 1.5, 1]]];

export const points = new Map();
for (const [id, name, industry] of SOURCES) {
  const kinds = industry === "coal_mine" ? [METHANE, METHANE, METHANE] : KINDS;
  for (let unit = 1; unit <= 3; unit += 1) {
    kinds.forEach(([kind, word, measure, low, high, mean, limits], index) => {
      const tag = `${id.slice(0, 2).toUpperCase()}-${unit}0${index + 1}.${kind}`;
      points.set(tag, {
        tag, kind, unit: measure, low, high, source: id, mean,
        name: text(`${name.zh} ${unit} 号${word.zh}`, `${name.en} ${unit} ${word.en}`),
        position: industry === "coal_mine" ? "return_air" : null,
        gateway: industry === "coal_mine" ? "gw-mine" : "gw-chem", device: `unit-${unit}`,
        quality: tag === "LN-302.pressure" ? { bad: "open_wire" } : "good",
        limits: limits.map(([setpoint, limit, priority]) => ({
          alarm: `${tag}.${setpoint}`, setpoint, limit, priority, figure_source: { zh: "HAZOP 2025-11", en: "HAZOP 2025-11" },
          reset: limit + (setpoint === "l" || setpoint === "ll" ? 1 : -1) * (high - low) * 0.02,
        })),
      });
    });
  }
}

/** Deterministic curve of a point: a slow swing and some noise; one excursion each 15 minutes. */
export function valueAt(point, at_ms) {
  const seed = [...point.tag].reduce((sum, letter) => sum + letter.charCodeAt(0), 0);
  const s = at_ms / 1000;
  const swing = Math.sin(s / 97 + seed) * 0.04 + Math.sin(s / 13 + seed * 3) * 0.01 + Math.sin(s * 7.3 + seed) * 0.004;
  const phase = (s + seed * 37) % 900;
  const bump = phase < 150 ? Math.sin((phase / 150) * Math.PI) : 0;
  const reach = point.limits[point.limits.length - 1].limit * 1.06 - point.mean;
  const bumps = seed % 3 === 0 ? bump * reach : 0;
  return Math.max(point.low, Math.min(point.high, point.mean + swing * (point.high - point.low) + bumps));
}

/** The line is cut for a minute each 20 minutes: a gap. A bad stretch each 25 minutes. */
export const isGap = (at_ms) => (at_ms / 1000) % 1200 < 45;
export const isBad = (at_ms) => (at_ms / 1000) % 1500 > 1440;

export const guidance = {
  cause: text("进料阀未关严；液位计漂移；出料泵停运。", "Feed valve not closed; level gauge drifts; outlet pump stopped."),
  consequence: text("满罐溢流，形成可燃蒸气云。", "The tank overflows and a flammable vapour cloud forms."),
  action: text("1. 关闭进料阀 XV-101。2. 现场确认液位。3. 启动倒罐。4. 报告班长。", "1. Close feed valve XV-101. 2. Check the level on site. 3. Start the transfer. 4. Tell the shift leader."),
  time_to_respond_s: 300,
};

const DAY = 86_400_000;
export function hazards(now) {
  const rows = [
    ["tank-farm", "TA-101.level", "hh", "major", "rectifying", -3, 1, true, "苯储罐 1 号液位高高限报警", "Benzene tank 1 level high high"],
    ["chlorine", "CH-104.gas", "gas2", "major", "found", -0.1, 1, false, "液氯库气体二级报警", "Chlorine store gas level 2"],
    ["lng", "LN-302.pressure", "loss_of_view", "general", "registered", -0.5, 2, false, "LNG 压力变送器断线超过 30 分钟", "LNG pressure transmitter open for 30 min"],
    ["face-3108", "FA-101.methane", "mine_cut", "major", "submitted", -2, 1, false, "工作面甲烷断电点报警", "Face methane reached the cut"],
    ["lng", "LN-101.level", "h", "general", "rectifying", -5, -1, false, "LNG 1 号液位高限 24 小时内 3 次", "LNG 1 level high three times in 24 h"],
    ["ammonia", "AM-103.temperature", "h", "general", "closed", -9, -6, false, "合成氨温度高限", "Ammonia temperature high"],
    ["return-2", "RE-102.methane", "mine_alarm", "general", "rejected", -4, -3, false, "回风甲烷报警（标校）", "Return methane alarm (calibration)"],
  ];
  return rows.map(([source, tag, setpoint, klass, state, found, deadline, supervised, zh, en], index) => ({
    id: String(index + 1), source, subject: tag, alarm: `${tag}.${setpoint}`,
    rule: setpoint === "loss_of_view" ? "loss_of_view" : setpoint === "h" || setpoint === "mine_alarm" ? "level_one" : "level_two", class: klass, state,
    overdue: deadline < 0 && state !== "closed" && state !== "rejected", supervised,
    found_at_ms: now + found * DAY, deadline_ms: now + deadline * DAY, occurrences: [900 + index, 950 + index], occurrence_count: 2, repeats: null, title: text(zh, en),
  }));
}

export const ALLOWED = {
  found: ["verify", "reject", "supervise"], registered: ["notice", "fix_on_the_spot", "supervise"], rectifying: ["submit", "extend", "supervise"],
  submitted: ["pass_recheck", "fail_recheck", "supervise"], closed: [], rejected: [],
};
export const NEXT = {
  verify: "registered", reject: "rejected", notice: "rectifying", fix_on_the_spot: "submitted", submit: "submitted",
  extend: "rectifying", pass_recheck: "closed", fail_recheck: "rectifying",
};
