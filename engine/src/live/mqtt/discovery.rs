//! What tells Home Assistant that there are answers, and how to read them.

use serde_json::json;

/// The topic and the message by which it finds a sensor that shows the class of the newest answer.
///
/// As <https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery> has it, below its usual prefix.
pub(super) fn discovery(answers: &str, status: &str) -> (String, String) {
    let sign = |sign: char| if sign.is_ascii_alphanumeric() || sign == '-' { sign } else { '_' };
    let id = format!("edgectl_{}", answers.chars().map(sign).collect::<String>());
    let config = json!({
        "name": answers,
        "unique_id": id,
        "state_topic": answers,
        "value_template": "{{ value_json.answer }}",
        "json_attributes_topic": answers,
        "availability_topic": status,
        "payload_available": "online",
        "payload_not_available": "offline",
        "device": {
            "identifiers": [id],
            "name": format!("edgectl {answers}"),
            "sw_version": env!("CARGO_PKG_VERSION"),
        },
    });
    (format!("homeassistant/sensor/{id}/config"), config.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_is_named_by_its_topic() {
        let (topic, config) = discovery("ward 3/wörds", "ward 3/wörds/status");
        assert_eq!(topic, "homeassistant/sensor/edgectl_ward_3_w_rds/config");
        let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
        assert_eq!(config["state_topic"], "ward 3/wörds");
        assert_eq!(config["availability_topic"], "ward 3/wörds/status");
        assert_eq!(config["unique_id"], "edgectl_ward_3_w_rds");
    }
}
