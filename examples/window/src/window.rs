//! The window: controls at the left, the picture at the right.

use std::time::Duration;

use clipseg::masks::OVERLAY_COLOURS;
use eframe::egui;
use eframe::egui_wgpu::{RenderState, wgpu};

use crate::engine::{Engine, Status, Wanted};
use crate::frames::{Frames, Phase, RECENT, Summary};
use crate::{Arguments, report};

/// Width of the controls, in points.
const CONTROLS: f32 = 290.0;
/// Between frames, where the window draws all the time.
const FRAME: Duration = Duration::from_millis(16);
/// The longest frame that the chart has room for, in seconds.
const CHART: f32 = 0.1;

pub struct Window {
    engine: Engine,
    gpu: RenderState,
    wanted: Wanted,
    picture: Option<Picture>,
    frames: Frames,
    /// Whether this frame was asked for by the one before it.
    follows: bool,
    is_reporting: bool,
    /// What was reported last, and which of the steps had been done.
    reported: Option<(Wanted, [bool; 3])>,
}

/// What egui draws: a texture of the engine's.
struct Picture {
    texture: wgpu::Texture,
    id: egui::TextureId,
}

impl Window {
    /// # Errors
    /// Where the window is not drawn by wgpu, and the device's where the engine cannot live there.
    pub fn new(
        context: &eframe::CreationContext<'_>,
        arguments: Arguments,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let gpu = context.wgpu_render_state.clone().ok_or("this window is not drawn by wgpu")?;
        let engine = Engine::new(&gpu, &arguments.model, &context.egui_ctx)?;
        context.egui_ctx.set_theme(egui::Theme::Dark);
        context.egui_ctx.all_styles_mut(|style| {
            for font in style.text_styles.values_mut() {
                font.size *= 1.15;
            }
            style.visuals.override_text_color = Some(egui::Color32::from_gray(225));
            style.spacing.slider_width = 170.0;
            style.spacing.item_spacing.y = 6.0;
        });
        let wanted = Wanted { photo: arguments.photo, words: String::new(), threshold: 0.5, opacity: 0.5 };
        engine.want(wanted.clone());
        Ok(Self {
            engine,
            gpu,
            wanted,
            picture: None,
            frames: Frames::default(),
            follows: false,
            is_reporting: arguments.is_reporting,
            reported: None,
        })
    }

    /// Has egui draw what the engine has made.
    fn take_picture(&mut self, texture: &wgpu::Texture) {
        if self.picture.as_ref().is_some_and(|picture| picture.texture == *texture) {
            return;
        }
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let (device, filter) = (&self.gpu.device, wgpu::FilterMode::Linear);
        let mut renderer = self.gpu.renderer.write();
        let id = match &self.picture {
            Some(Picture { id, .. }) => {
                renderer.update_egui_texture_from_wgpu_texture(device, &view, filter, *id);
                *id
            }
            None => renderer.register_native_texture(device, &view, filter),
        };
        self.picture = Some(Picture { texture: texture.clone(), id });
    }

    /// The controls; where the threshold's slider is.
    fn controls(&mut self, ui: &mut egui::Ui, status: &Status) -> egui::Rect {
        ui.add_space(8.0);
        ui.heading("What to find");
        let field = egui::TextEdit::singleline(&mut self.wanted.words)
            .hint_text("the orange ring, something striped")
            .desired_width(f32::INFINITY);
        let field = ui.add(field);
        if ui.memory(|memory| memory.focused().is_none()) {
            field.request_focus();
        }
        for (prompt, [red, green, blue]) in self.wanted.prompts().iter().zip(OVERLAY_COLOURS) {
            ui.horizontal(|ui| {
                let (rect, _) = ui.allocate_exact_size(egui::Vec2::splat(14.0), egui::Sense::hover());
                ui.painter().rect_filled(rect, 3.0, egui::Color32::from_rgb(red, green, blue));
                ui.label(*prompt);
            });
        }
        ui.add_space(8.0);
        ui.label("Threshold");
        let slider = ui.add(egui::Slider::new(&mut self.wanted.threshold, 0.02..=0.98).fixed_decimals(2));
        ui.label("Opacity");
        ui.add(egui::Slider::new(&mut self.wanted.opacity, 0.0..=1.0).fixed_decimals(2));
        ui.add_space(8.0);
        ui.separator();
        match status.phase {
            Phase::Loading => {
                ui.add(egui::ProgressBar::new(status.loaded).text("loading the model"));
            }
            Phase::Encoding => {
                ui.horizontal(|ui| {
                    ui.spinner();
                    ui.label("encoding the photo");
                });
            }
            Phase::Finding | Phase::Idle => {}
        }
        let names = ["model loaded in", "photo encoded in", "words found in"];
        for (name, took) in names.into_iter().zip(status.took) {
            if let Some(took) = took {
                ui.label(format!("{name} {:.0} ms", took.as_secs_f64() * 1e3));
            }
        }
        for error in status.errors.iter().flatten() {
            ui.colored_label(egui::Color32::from_rgb(255, 120, 110), error);
        }
        ui.with_layout(egui::Layout::bottom_up(egui::Align::Min), |ui| {
            ui.add_space(8.0);
            ui.small("Drop a photo on the window to open it.");
            self.chart(ui);
        });
        slider.rect
    }

    /// How long the latest frames took.
    fn chart(&self, ui: &mut egui::Ui) {
        let size = egui::vec2(ui.available_width(), 44.0);
        let (rect, _) = ui.allocate_exact_size(size, egui::Sense::hover());
        ui.painter().rect_filled(rect, 3.0, ui.visuals().extreme_bg_color);
        // The latest at the right, each as wide and as high as it was long.
        let mut right = rect.right();
        for time in self.frames.times() {
            let width = rect.width() * time.as_secs_f32() / RECENT.as_secs_f32();
            let height = rect.height() * (time.as_secs_f32() / CHART).min(1.0);
            let corners =
                [egui::pos2(right - width, rect.bottom() - height), egui::pos2(right - 0.5, rect.bottom())];
            let bar = egui::Rect::from_min_max(corners[0], corners[1]).intersect(rect);
            ui.painter().rect_filled(bar, 0.0, egui::Color32::from_rgb(48, 160, 255));
            right -= width;
        }
        ui.label(match self.frames.recent() {
            Some(Summary { median, longest, .. }) => {
                format!("frames: {median:.0} ms, longest {longest:.0} ms")
            }
            None => "frames: none, nothing changes".to_owned(),
        });
    }

    /// The picture; where it is drawn.
    fn show_picture(&self, ui: &mut egui::Ui) -> egui::Rect {
        let Some(Picture { texture, id }) = &self.picture else { return egui::Rect::ZERO };
        let size = egui::vec2(texture.width() as f32, texture.height() as f32);
        let available = ui.available_rect_before_wrap();
        let scale = (available.size() / size).min_elem();
        let rect = egui::Rect::from_center_size(available.center(), size * scale);
        let whole = egui::Rect::from_min_max(egui::pos2(0.0, 0.0), egui::pos2(1.0, 1.0));
        ui.painter().image(*id, rect, whole, egui::Color32::WHITE);
        rect
    }

    fn report(&mut self, status: &Status, places: [egui::Rect; 2], pixels_per_point: f32) {
        // Before the model is there the photo is shown all the same.
        let is_done = matches!(status.phase, Phase::Idle | Phase::Loading);
        let Some(shown) = status.shown.as_ref().filter(|_| is_done) else { return };
        let reached = Some((shown.clone(), status.took.map(|took| took.is_some())));
        if self.reported != reached {
            self.reported = reached;
            let took = status.took.map(|took| took.map(|took| took.as_secs_f64() * 1e3));
            println!("{}", report::line(shown, &self.frames, took, places, pixels_per_point));
        }
    }
}

impl eframe::App for Window {
    fn ui(&mut self, ui: &mut egui::Ui, _: &mut eframe::Frame) {
        let status = self.engine.status();
        self.frames.begin(status.phase, self.follows);
        if let Some(texture) = &status.picture {
            self.take_picture(texture);
        }
        let before = self.wanted.clone();
        if let Some(file) = ui.input(|input| input.raw.dropped_files.last().cloned()) {
            self.wanted.photo = file.path().to_owned();
        }
        let slider = egui::Panel::left("controls")
            .exact_size(CONTROLS)
            .resizable(false)
            .show(ui, |ui| self.controls(ui, &status))
            .inner;
        let picture = egui::CentralPanel::default().show(ui, |ui| self.show_picture(ui)).inner;
        if self.wanted != before {
            self.engine.want(self.wanted.clone());
        }
        if self.is_reporting {
            self.report(&status, [picture, slider], ui.ctx().pixels_per_point());
        }
        // Nothing changes by itself while the engine is idle: then frames come with key presses alone.
        self.follows = self.is_reporting || status.phase != Phase::Idle;
        if self.follows {
            ui.ctx().request_repaint_after(FRAME);
        }
    }
}
